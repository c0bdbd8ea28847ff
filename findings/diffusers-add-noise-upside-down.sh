#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: scheduler.add_noise(x, noise, t) with a training timestep t depends on t alone, and grows with t, before and after set_timesteps.
# Happens: on a fresh DPMSolverMultistep, UniPC or DEIS scheduler the noise is upside down: t = 100 gets that of 899. After set_timesteps(7) every t that is not in the
#   schedule gets the noise of the schedule's last timestep. No error in both cases; Euler raises an IndexError in the second, DDIM is right.
# Matters: a training loop that draws its noise from the scheduler that it samples with trains on wrong pairs of noise and timestep, and on other wrong ones after the first
#   validation samples. The loss falls all the same.
# Source: diffusers/schedulers/scheduling_dpmsolver_multistep.py: __init__ (timesteps descend, sigmas ascend), index_for_timestep (without a match the last index is taken).
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import diffusers, torch
x, noise = torch.zeros(1, 1), torch.ones(1, 1)
def share(scheduler, t):
    try: return round(scheduler.add_noise(x, noise, torch.tensor([t])).item(), 3)
    except IndexError: return "IndexError"
for name in "DDIM", "EulerDiscrete", "DPMSolverMultistep", "UniPCMultistep", "DEISMultistep":
    scheduler = getattr(diffusers, name + "Scheduler")()
    before = [share(scheduler, t) for t in (100, 500, 900)]
    scheduler.set_timesteps(7)
    print(f"{name}: noise added at t = 100, 500, 900 {before}, after set_timesteps(7) {[share(scheduler, t) for t in (100, 500, 900)]}")
E
observe python "$tmp/program.py"
verdict <<'E'
DDIM: noise added at t = 100, 500, 900 [0.324, 0.96, 1.0], after set_timesteps(7) [0.324, 0.96, 1.0]
EulerDiscrete: noise added at t = 100, 500, 900 [0.342, 3.443, 60.822], after set_timesteps(7) ['IndexError', 'IndexError', 'IndexError']
DPMSolverMultistep: noise added at t = 100, 500, 900 [1.0, 0.96, 0.321], after set_timesteps(7) [0.444, 0.444, 0.444]
UniPCMultistep: noise added at t = 100, 500, 900 [1.0, 0.96, 0.321], after set_timesteps(7) [0.444, 0.444, 0.444]
DEISMultistep: noise added at t = 100, 500, 900 [1.0, 0.96, 0.321], after set_timesteps(7) [0.444, 0.444, 0.444]
E
