#!/usr/bin/env bash
# torch 2.15.0, torch.distributed.checkpoint (DCP) on two ranks. Seen on 2026-11-29.
# Expected: dcp.save of a key whose value differs by rank keeps both values, or refuses, or takes all from one rank.
# Happens: one value per key is kept without a word, and tensors and other objects come from different ranks: here the generator's state is rank 0's and the step is rank 1's.
#   Of several tensors, some are rank 0's and some rank 1's: the work of writing is spread over ranks, by size.
# Matters: a random state or a data loader's position that is a rank's own must have the rank in its key. Replicas that have drifted apart are saved as a mixture
#   that no rank ever had.
# Source: torch/distributed/checkpoint/_dedup_save_plans.py (the plan with the least to write gets a duplicated item) and default_planner.py.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import os, torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
dist.init_process_group("gloo")
rank = dist.get_rank()
folder = os.environ["TMPDIR"] + "/checkpoint"
def state(value): return {"layer1": torch.full((4,), value), "layer2": torch.full((4,), value), "layer3": torch.full((4,), value), "step": int(value), "note": f"rank {int(value)}"}
dcp.save(state(float(rank)), checkpoint_id=folder)
loaded = state(-1.)
dcp.load(loaded, checkpoint_id=folder)
every = [None, None]
dist.all_gather_object(every, {key: value if isinstance(value, (int, str)) else f"rank {int(value[0])}'s" for key, value in loaded.items()})
if rank == 0:
    for r, values in enumerate(every): print(f"rank {r} loads {values}")
E
verdict <<'E'
rank 0 loads {'layer1': "rank 0's", 'layer2': "rank 1's", 'layer3': "rank 0's", 'step': 1, 'note': 'rank 1'}
rank 1 loads {'layer1': "rank 0's", 'layer2': "rank 1's", 'layer3': "rank 0's", 'step': 1, 'note': 'rank 1'}
E
