#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: all_reduce(MAX) or (MIN) with a NaN on one rank gives NaN, as torch.max does.
# Happens: it depends on the rank that holds the NaN, and on the element's place in the tensor: some elements keep it, others lose it, and all ranks agree on that.
# Matters: "is any loss NaN?" asked by a MAX over ranks is answered no, and an overflow is not skipped. Sum, or reduce isnan() as integers.
# Source: gloo/math.h: max and min compare with `<`, which is false for NaN; the ring of allreduce starts each part of the tensor at another rank.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 4 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
for name, op in ("max", dist.ReduceOp.MAX), ("min", dist.ReduceOp.MIN):
    for owner in range(4):
        x = torch.full((8,), float("nan") if rank == owner else 1.)
        dist.all_reduce(x, op)
        if rank == 0: print(f"{name}, NaN in all 8 elements of rank {owner}: {x.isnan().int().tolist()} are NaN")
x = torch.tensor([1., float("nan")])
if rank == 0: print(f"torch.max: {x.max().item()}")
E
verdict <<'E'
max, NaN in all 8 elements of rank 0: [1, 1, 0, 0, 0, 0, 0, 0] are NaN
max, NaN in all 8 elements of rank 1: [0, 0, 1, 1, 0, 0, 0, 0] are NaN
max, NaN in all 8 elements of rank 2: [0, 0, 0, 0, 1, 1, 0, 0] are NaN
max, NaN in all 8 elements of rank 3: [0, 0, 0, 0, 0, 0, 1, 1] are NaN
min, NaN in all 8 elements of rank 0: [1, 1, 0, 0, 0, 0, 0, 0] are NaN
min, NaN in all 8 elements of rank 1: [0, 0, 1, 1, 0, 0, 0, 0] are NaN
min, NaN in all 8 elements of rank 2: [0, 0, 0, 0, 1, 1, 0, 0] are NaN
min, NaN in all 8 elements of rank 3: [0, 0, 0, 0, 0, 0, 1, 1] are NaN
torch.max: nan
E
