#!/usr/bin/env bash
# torch 2.15.0, c10d with gloo. Seen on 2026-11-29.
# Expected: all_reduce of two tensors of one shape and one dtype adds equal indices, or refuses tensors that are laid out differently.
# Happens: storages are added in the order of memory. Where one rank's tensor is contiguous and another's is channels_last, or its transpose, each rank gets another
#   wrong sum, without an error; so does broadcast. Nor is the dtype compared: float bits arrive in an int32 tensor as they are.
# Matters: gradients of convolutions are channels_last or not by the path that autograd took; one rank that takes another path spoils the sum silently.
# Source: torch/csrc/distributed/c10d/ProcessGroupGloo.cpp: inputs are checked within a rank only (assertDense, assertTypeAndSizesMatch); gloo gets a pointer and a count.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
def report(what, tensor):
    every = [None, None]
    dist.all_gather_object(every, tensor.flatten().tolist())
    if rank == 0: print(f"{what}: rank 0 {every[0]}, rank 1 {every[1]}")
x = torch.arange(8.).reshape(1, 2, 2, 2)
x = x.to(memory_format=torch.channels_last) if rank else x
total = x.clone(); dist.all_reduce(total)
report("sum of twice 0..7", total)
copy = x.clone() * (rank == 0); dist.broadcast(copy, 0)
report("broadcast of 0..7", copy)
x = torch.arange(6.).reshape(2, 3)
x = x.t().contiguous().t() if rank else x
total = x.clone(); dist.all_reduce(total)
report("sum of twice 0..5, one transposed", total)
copy = torch.zeros(2, dtype=torch.int32) if rank else torch.tensor([1., 2.])
dist.broadcast(copy, 0)
report("broadcast of 1.0 and 2.0 to int32", copy)
E
verdict <<'E'
sum of twice 0..7: rank 0 [0.0, 5.0, 3.0, 8.0, 6.0, 11.0, 9.0, 14.0], rank 1 [0.0, 3.0, 6.0, 9.0, 5.0, 8.0, 11.0, 14.0]
broadcast of 0..7: rank 0 [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], rank 1 [0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]
sum of twice 0..5, one transposed: rank 0 [0.0, 4.0, 3.0, 7.0, 6.0, 10.0], rank 1 [0.0, 3.0, 6.0, 4.0, 7.0, 10.0]
broadcast of 1.0 and 2.0 to int32: rank 0 [1.0, 2.0], rank 1 [1065353216, 1073741824]
E
