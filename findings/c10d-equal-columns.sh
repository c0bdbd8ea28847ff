#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: where each rank's tensor holds one value in all its elements, all elements of the sum are equal. Rounding depends on the order of ranks, but the order is one.
# Happens: each part of the tensor starts at another rank, so equal columns give different sums, in float32 as in bfloat16; what is added changes with the tensor's length.
# Matters: the same gradient gets another value when it is packed into another bucket, or next to other tensors: two runs that differ only in bucket size differ in bits.
#   Symmetric weights do not stay symmetric.
# Source: gloo/allreduce.cc: the ring splits the buffer into a segment per rank and reduces segment i from rank i on.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 4 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
for dtype, big in (torch.float32, 2. ** 24), (torch.bfloat16, 256.):
    for length in 8, 12:
        x = torch.full((length,), big if rank == 0 else 1., dtype=dtype)
        dist.all_reduce(x)
        if rank == 0: print(f"{dtype}, {big:.0f} + 1 + 1 + 1, {length} times: {[int(v) for v in x]}")
E
verdict <<'E'
torch.float32, 16777216 + 1 + 1 + 1, 8 times: [16777220, 16777220, 16777216, 16777216, 16777216, 16777216, 16777220, 16777220]
torch.float32, 16777216 + 1 + 1 + 1, 12 times: [16777220, 16777220, 16777220, 16777220, 16777216, 16777216, 16777216, 16777216, 16777216, 16777216, 16777216, 16777216]
torch.bfloat16, 256 + 1 + 1 + 1, 8 times: [260, 260, 256, 256, 256, 256, 260, 260]
torch.bfloat16, 256 + 1 + 1 + 1, 12 times: [260, 260, 260, 260, 256, 256, 256, 256, 256, 256, 256, 256]
E
