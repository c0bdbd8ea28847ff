#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: dist.reduce(tensor, dst=0) leaves the tensors of ranks 1 to 3 as they were: "only the process with rank dst is going to receive the final result".
# Happens: they are used as scratch space: afterwards they hold partial sums, which differ by element.
# Matters: a rank that goes on with its local value (its own loss for a log line, its own gradient) has something else, on gloo only.
# Source: torch/csrc/distributed/c10d/ProcessGroupGloo.cpp (AsyncReduceWork: the input is handed to gloo as the output) and gloo/reduce.cc.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 4 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
x = torch.full((4,), 10. ** rank)
dist.reduce(x, dst=0)
every = [None] * 4
dist.all_gather_object(every, x.int().tolist())
if rank == 0:
    for r, values in enumerate(every): print(f"rank {r} had {10 ** r}, has {values}")
E
verdict <<'E'
rank 0 had 1, has [1111, 1111, 1111, 1111]
rank 1 had 10, has [1110, 1110, 1111, 1111]
rank 2 had 100, has [1100, 1100, 1101, 1101]
rank 3 had 1000, has [1000, 1000, 1001, 1001]
E
