#!/usr/bin/env bash
# torch 2.15.0. Seen on 2026-11-29.
# Expected: a run is resumed by loading the optimizer's and the scheduler's state, in whatever order the objects were made: both states are complete.
# Happens: making a scheduler sets the optimizer's learning rate to that of step 0, and load_state_dict of the scheduler does not set it back. Where the optimizer was loaded
#   before the scheduler was made, OneCycleLR takes one step at the starting rate. SequentialLR with a warm-up and a cosine, resumed after the warm-up, multiplies the wrong rate
#   on: a tenth of the rate to the end. After both were made first, all is right.
# Matters: a resumed run looks like a run that has converged early. get_last_lr() tells the right rate until the next step, while param_groups has the wrong one.
# Source: torch/optim/lr_scheduler.py, LRScheduler._initial_step and the recursive form of CosineAnnealingLR.get_lr.
. "$(dirname "$0")/common.sh"
python_packages torch==2.15.0 numpy==2.4.6
cat > "$tmp/program.py" <<'E'
import copy, torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR
def optimizer(): return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.)
schedules = {"OneCycleLR": lambda o: OneCycleLR(o, 1., total_steps=20, cycle_momentum=False),
             "warm-up and cosine": lambda o: SequentialLR(o, [LinearLR(o, .1, total_iters=5), CosineAnnealingLR(o, 10)], [5])}
def rates(o, s, steps):
    seen = []
    for _ in range(steps): seen.append(round(o.param_groups[0]["lr"], 3)); o.step(); s.step()
    return seen
for name, schedule in schedules.items():
    o = optimizer(); s = schedule(o)
    rates(o, s, 6)
    saved = copy.deepcopy((o.state_dict(), s.state_dict()))
    print(f"{name}, steps 6 to 10: {rates(o, s, 5)}")
    o = optimizer(); s = schedule(o); o.load_state_dict(saved[0]); s.load_state_dict(saved[1])
    print(f"{name}, both made, then loaded: {rates(o, s, 5)}")
    o = optimizer(); o.load_state_dict(saved[0]); s = schedule(o); s.load_state_dict(saved[1])
    last = s.get_last_lr()[0]
    print(f"{name}, scheduler made after the optimizer was loaded: get_last_lr {last:.3f}, {rates(o, s, 5)}")
E
observe python "$tmp/program.py"
verdict <<'E'
OneCycleLR, steps 6 to 10: [0.987, 0.95, 0.891, 0.812, 0.717]
OneCycleLR, both made, then loaded: [0.987, 0.95, 0.891, 0.812, 0.717]
OneCycleLR, scheduler made after the optimizer was loaded: get_last_lr 0.987, [0.04, 0.95, 0.891, 0.812, 0.717]
warm-up and cosine, steps 6 to 10: [0.976, 0.905, 0.794, 0.655, 0.5]
warm-up and cosine, both made, then loaded: [0.976, 0.905, 0.794, 0.655, 0.5]
warm-up and cosine, scheduler made after the optimizer was loaded: get_last_lr 0.976, [0.1, 0.093, 0.081, 0.067, 0.051]
E
