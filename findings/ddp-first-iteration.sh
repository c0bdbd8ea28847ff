#!/usr/bin/env bash
# torch 2.15.0, DistributedDataParallel with gloo on three ranks. Seen on 2026-11-29.
# Expected: the same weights and the same input give the same gradients, bit for bit, in the first iteration and in the second.
# Happens: a fifth of the elements differ: after the first backward DDP packs the gradients into its buckets in another order, so each element is summed over ranks in another order.
#   On two ranks nothing is seen: a + b = b + a.
# Matters: a job that resumes from a checkpoint starts with a first iteration where the uninterrupted job had its hundredth; exact resumption holds on one and two ranks only.
# Source: torch/csrc/distributed/c10d/reducer.cpp, rebuild_buckets: buckets in the order in which gradients became ready.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
for n in 2 3; do ranks $n <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(*[torch.nn.Linear(16, 16) for _ in range(4)])
ddp = torch.nn.parallel.DistributedDataParallel(model)
x = torch.randn(8, 16, generator=torch.Generator().manual_seed(dist.get_rank()))
gradients = []
for iteration in range(3):
    model.zero_grad()
    ddp(x).square().sum().backward()
    gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
if dist.get_rank() == 0:
    first, second, third = gradients
    print(f"{dist.get_world_size()} ranks: iterations 1 and 2 {'equal' if torch.equal(first, second) else 'differ'}, 2 and 3 {'equal' if torch.equal(second, third) else 'differ'}; "
          f"close: {torch.allclose(first, second)}")
E
done
verdict <<'E'
2 ranks: iterations 1 and 2 equal, 2 and 3 equal; close: True
3 ranks: iterations 1 and 2 differ, 2 and 3 equal; close: True
E
