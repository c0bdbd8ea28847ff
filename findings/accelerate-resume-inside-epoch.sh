#!/usr/bin/env bash
# accelerate 1.15.0, torch 2.15.0. Seen on 2026-11-30.
# Expected: save_state inside an epoch, and in a new process load_state and skip_first_batches, as the guide says, go on with the samples of that epoch that were not yet seen.
# Happens: with shuffle=True the resumed epoch has another order, since the saved generator has moved on: of 1000 samples a quarter is seen twice and a quarter never when it was
#   saved in the middle. use_seedable_sampler with a data_seed is right in the first epoch alone, as the epoch's number is not kept; set_epoch mends it, and then the epoch
#   after the resumed one has the same order once more.
# Matters: the usual way to survive a time limit of a cluster silently leaves samples out of an epoch and repeats others.
# Source: huggingface.co/docs/accelerate/usage_guides/checkpoint; github.com/huggingface/accelerate/issues/2823 and pull 4233.
. "$(dirname "$0")/common.sh"
python_packages accelerate==1.15.0 torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import tempfile, torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, TensorDataset
def life(options):  # what a new process does
    AcceleratorState._reset_state(True); GradientState._reset_state(); set_seed(1)
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
    return accelerator, accelerator.prepare(DataLoader(TensorDataset(torch.arange(1000)), 10, shuffle=True))
def samples(batches): return [sample for batch, in batches for sample in batch.tolist()]
for options, set_epoch in ({}, False), ({}, True), ({"use_seedable_sampler": True, "data_seed": 7}, False), ({"use_seedable_sampler": True, "data_seed": 7}, True):
    print(options, "and set_epoch" if set_epoch else "alone")
    for epoch in 0, 1:
        folder = tempfile.mkdtemp()
        accelerator, loader = life(options)
        for _ in range(epoch): samples(loader)
        before, after = [], []
        for number, (batch,) in enumerate(loader):
            (before if number < 50 else after).extend(batch.tolist())
            if number == 49: accelerator.save_state(folder)
        following = samples(loader)
        accelerator, loader = life(options)
        accelerator.load_state(folder)
        if set_epoch: loader.set_epoch(epoch)
        resumed, then = samples(accelerator.skip_first_batches(loader, 50)), samples(loader)
        print(f"  epoch {epoch}: the rest is the same: {resumed == after}, a quarter is never seen: {200 < len(set(after) - set(resumed)) < 300},",
              f"the next epoch is the same: {then == following}, ends as the resumed one: {then[500:] == resumed}")
E
observe python "$tmp/program.py"
verdict <<'E'
{} alone
  epoch 0: the rest is the same: False, a quarter is never seen: True, the next epoch is the same: False, ends as the resumed one: False
  epoch 1: the rest is the same: False, a quarter is never seen: True, the next epoch is the same: False, ends as the resumed one: False
{} and set_epoch
  epoch 0: the rest is the same: False, a quarter is never seen: True, the next epoch is the same: False, ends as the resumed one: False
  epoch 1: the rest is the same: False, a quarter is never seen: True, the next epoch is the same: False, ends as the resumed one: False
{'use_seedable_sampler': True, 'data_seed': 7} alone
  epoch 0: the rest is the same: True, a quarter is never seen: False, the next epoch is the same: False, ends as the resumed one: True
  epoch 1: the rest is the same: False, a quarter is never seen: True, the next epoch is the same: False, ends as the resumed one: True
{'use_seedable_sampler': True, 'data_seed': 7} and set_epoch
  epoch 0: the rest is the same: True, a quarter is never seen: False, the next epoch is the same: False, ends as the resumed one: True
  epoch 1: the rest is the same: True, a quarter is never seen: False, the next epoch is the same: False, ends as the resumed one: True
E
