#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.15.0, gloo. Seen on 2026-11-30.
# Expected: use_seedable_sampler=True, which is there for reproducible runs, changes the order of the samples and nothing else: in an epoch the ranks together see each sample once.
# Happens: it takes the order from each rank's own torch seed, and the synchronization of the ranks' generators, which works without it, is left out, for SubsetRandomSampler and
#   WeightedRandomSampler as well. Where the seeds differ (set_seed(..., device_specific=True), or none set) two ranks take their halves of different orders: about a quarter of the
#   samples is not seen in an epoch and a quarter twice. data_seed mends shuffle=True, not the others. A sampler of one's own without a `generator` is never synchronized.
# Matters: an evaluation counts samples twice and misses others, with the right total; training passes over a quarter of the data in each epoch.
# Source: accelerate/data_loader.py (SeedableRandomSampler.__iter__, prepare_data_loader: "not use_seedable_sampler").
. "$(dirname "$0")/common.sh"
python_packages accelerate==1.15.0 torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import os, torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, RandomSampler, Sampler, SubsetRandomSampler, TensorDataset
os.environ |= {"LOCAL_RANK": os.environ["RANK"], "ACCELERATE_USE_CPU": "true"}
images = TensorDataset(torch.arange(1000))
class Own(Sampler):
    def __len__(self): return 1000
    def __iter__(self): return iter(torch.randperm(1000).tolist())
for device_specific in False, True:
    for options in {}, {"use_seedable_sampler": True}, {"use_seedable_sampler": True, "data_seed": 7}:
        accelerator, seen = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options)), {}
        for name, sampler in ("shuffle", RandomSampler(images)), ("SubsetRandomSampler", SubsetRandomSampler(range(1000))), ("own sampler", Own()):
            set_seed(1, device_specific=device_specific)
            loader = accelerator.prepare(DataLoader(images, 10, sampler=sampler))
            got = [sample for batch, in loader for sample in accelerator.gather_for_metrics(batch).tolist()]
            seen[name] = "all" if sorted(got) == list(range(1000)) else "a quarter missing" if len(got) == 1000 and 700 < len(set(got)) < 800 else len(set(got))
        if accelerator.is_main_process: print(f"device_specific={device_specific} {options}:", seen)
E
verdict <<'E'
device_specific=False {}: {'shuffle': 'all', 'SubsetRandomSampler': 'all', 'own sampler': 'all'}
device_specific=False {'use_seedable_sampler': True}: {'shuffle': 'all', 'SubsetRandomSampler': 'all', 'own sampler': 'all'}
device_specific=False {'use_seedable_sampler': True, 'data_seed': 7}: {'shuffle': 'all', 'SubsetRandomSampler': 'all', 'own sampler': 'all'}
device_specific=True {}: {'shuffle': 'all', 'SubsetRandomSampler': 'all', 'own sampler': 'a quarter missing'}
device_specific=True {'use_seedable_sampler': True}: {'shuffle': 'a quarter missing', 'SubsetRandomSampler': 'a quarter missing', 'own sampler': 'a quarter missing'}
device_specific=True {'use_seedable_sampler': True, 'data_seed': 7}: {'shuffle': 'all', 'SubsetRandomSampler': 'a quarter missing', 'own sampler': 'a quarter missing'}
E
