#!/usr/bin/env bash
# torch 2.15.0, DistributedDataParallel with gloo. Seen on 2026-11-29.
# Expected: a parameter that was frozen when the model was wrapped, and is unfrozen later, is averaged like the others, or the next backward raises.
# Happens: it gets gradients, and they stay each rank's own. The other direction does raise: a parameter that is frozen after wrapping ends the second iteration
#   with an error about unused parameters.
# Matters: "train the head first, then unfreeze the backbone" is common; replicas drift apart silently, and the checkpoint has rank 0's backbone.
# Source: torch/nn/parallel/distributed.py, _build_params_for_reducer: only parameters with requires_grad at construction are given to the Reducer.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
ranks 2 <<'E'
import torch, torch.distributed as dist
dist.init_process_group("gloo")
def train(before, after):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    model[0].weight.requires_grad_(before)
    ddp = torch.nn.parallel.DistributedDataParallel(model)
    model[0].weight.requires_grad_(after)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        for _ in range(2):
            optimizer.zero_grad()
            ddp(torch.tensor([[dist.get_rank() + 1.]])).sum().backward()
            optimizer.step()
        outcome = tuple(round(layer.weight.item(), 4) for layer in model)
    except RuntimeError as error: outcome = str(error).split(".")[0]
    every = [None, None]
    dist.all_gather_object(every, outcome)
    return every
for before, after in (False, True), (True, False):
    every = train(before, after)
    if dist.get_rank() == 0: print(f"trainable when wrapped: {before}, then: {after}. rank 0 {every[0]}, rank 1 {every[1]}")
E
verdict <<'E'
trainable when wrapped: False, then: True. rank 0 (-0.1149, 0.5521), rank 1 (-0.2223, 0.5521)
trainable when wrapped: True, then: False. rank 0 Expected to have finished reduction in the prior iteration before starting a new one, rank 1 Expected to have finished reduction in the prior iteration before starting a new one
E
