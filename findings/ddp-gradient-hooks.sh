#!/usr/bin/env bash
# torch 2.15.0, DistributedDataParallel with gloo. Seen on 2026-11-29.
# Expected: a hook that runs after a gradient was accumulated (register_post_accumulate_grad_hook) sees what backward leaves in .grad: the mean over ranks.
# Happens: it sees the rank's own gradient. DDP averages later, in the same backward.
# Matters: clipping, logging or an optimizer step within the hook, the usual way to free gradients early, works on local gradients: replicas drift apart without an error.
# Source: torch/csrc/distributed/c10d/reducer.cpp: its hook is a post hook of the gradient accumulator, which comes after the tensor's own hooks.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
model = torch.nn.Linear(1, 1, bias=False)
ddp = torch.nn.parallel.DistributedDataParallel(model)
seen = []
def step(weight):
    seen.append(weight.grad.item())
    with torch.no_grad(): weight -= 0.5 * weight.grad
with torch.no_grad(): model.weight.fill_(1.)
model.weight.register_post_accumulate_grad_hook(step)
ddp(torch.tensor([[dist.get_rank() + 1.]])).sum().backward()
every = [None, None]
dist.all_gather_object(every, (seen[0], model.weight.grad.item(), model.weight.item()))
if dist.get_rank() == 0:
    for rank, (hook, grad, weight) in enumerate(every): print(f"rank {rank}: the hook sees {hook}, .grad after backward is {grad}, the weight after the hook's step is {weight}")
E
verdict <<'E'
rank 0: the hook sees 1.0, .grad after backward is 1.5, the weight after the hook's step is 0.5
rank 1: the hook sees 2.0, .grad after backward is 1.5, the weight after the hook's step is 0.0
E
