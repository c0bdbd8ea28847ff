#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: gather_for_metrics over a loader gives each of its samples once, since it drops only what was added to make the ranks even; with one process it drops nothing.
# Happens: it cuts the last batch to the length of the dataset modulo the batch, whatever the sampler yields, and in one process too. A sampler of 96 of 100 images loses 12 of them with
#   batches of 16, one of 32 loses 12; a batch sampler that drops the last batch loses 12 more; where a sample gives two rows (crops, flips) the second halves go. On two ranks what was
#   added is counted as samples: 52 for 50.
# Matters: an accuracy, or features for a gallery, over a validation split made by SubsetRandomSampler silently lack samples, others in each run. Nothing warns, and a dataset whose
#   length is a multiple of the batch shows nothing. A Subset of the dataset is right.
# Source: accelerate/data_loader.py (DataLoaderStateMixin.begin), accelerator.py (gather_for_metrics); github.com/huggingface/accelerate/issues/2007 for drop_last, mended there alone.
. "$(dirname "$0")/common.sh"
python_packages accelerate==1.15.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/count.py" <<'E'
import os, torch
from accelerate import Accelerator
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler
if "RANK" in os.environ: os.environ |= {"LOCAL_RANK": os.environ["RANK"], "ACCELERATE_USE_CPU": "true"}
accelerator, images = Accelerator(cpu=True), TensorDataset(torch.arange(100))
def count(name, expected, loader, rows=1):
    gathered = [accelerator.gather_for_metrics(batch.repeat_interleave(rows)) for batch, in accelerator.prepare(loader)]
    if accelerator.is_main_process: print(f"  {name}: {sum(map(len, gathered))} of {expected}")
if accelerator.is_main_process: print("processes:", accelerator.num_processes)
count("all 100", 100, DataLoader(images, 8))
count("Subset of 96", 96, DataLoader(Subset(images, range(96)), 8))
for length in 96, 48, 50: count(f"SubsetRandomSampler of {length}", length, DataLoader(images, 16 // accelerator.num_processes, sampler=SubsetRandomSampler(range(length))))
count("WeightedRandomSampler of 320", 320, DataLoader(images, 16 // accelerator.num_processes, sampler=WeightedRandomSampler(torch.ones(100), 320)))
if accelerator.num_processes == 1: count("BatchSampler, drop_last", 96, DataLoader(images, batch_sampler=BatchSampler(SequentialSampler(images), 16, drop_last=True)))
count("two rows a sample", 200, DataLoader(images, 16 // accelerator.num_processes), rows=2)
E
observe python "$tmp/count.py"
ranks 2 < "$tmp/count.py"
verdict <<'E'
processes: 1
  all 100: 100 of 100
  Subset of 96: 96 of 96
  SubsetRandomSampler of 96: 84 of 96
  SubsetRandomSampler of 48: 36 of 48
  SubsetRandomSampler of 50: 50 of 50
  WeightedRandomSampler of 320: 308 of 320
  BatchSampler, drop_last: 84 of 96
  two rows a sample: 196 of 200
processes: 2
  all 100: 100 of 100
  Subset of 96: 96 of 96
  SubsetRandomSampler of 96: 84 of 96
  SubsetRandomSampler of 48: 36 of 48
  SubsetRandomSampler of 50: 52 of 50
  WeightedRandomSampler of 320: 308 of 320
  two rows a sample: 196 of 200
E
