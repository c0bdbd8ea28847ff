#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0, numpy 2.4.6.
# Expected: with more steps a solver comes closer to the solution; with a model that knows the noise any number of steps ends at the original, up to rounding.
# Happens: DEISMultistepScheduler of order 3 is off by 1 % and more with 250 steps, by 10 % and more with 500, and is better with 10. Of order 2 it is off by more than 1e-4.
# Matters: many steps are taken for the reference that few are measured by; here they are the worst.
# Source: diffusers/schedulers/scheduling_deis_multistep.py, multistep_deis_third_order_update: the coefficients are differences of close float32 numbers, divided by
#   products of differences of logarithms.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import diffusers, torch
torch.manual_seed(0)
original, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
def error(name, steps, order):
    scheduler = getattr(diffusers, name)(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=order)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    sample = scheduler.add_noise(original, noise, scheduler.timesteps[:1])
    for t in scheduler.timesteps:
        sample = scheduler.step(noise, t, sample, return_dict=False)[0]
    alpha = scheduler.alphas_cumprod[0] if name.startswith("DEIS") else torch.tensor(1.0)  # DEIS ends at timestep 0
    wanted = alpha.sqrt() * original + (1 - alpha).sqrt() * noise
    return ((sample - wanted).norm() / wanted.norm()).item()
for name, order in ("DEISMultistepScheduler", 3), ("DEISMultistepScheduler", 2), ("UniPCMultistepScheduler", 3), ("DPMSolverMultistepScheduler", 2):
    for steps in 10, 250, 500:
        off = error(name, steps, order)
        print(f"{name} of order {order}, {steps} steps: error {next(limit for limit in ('< 1e-4', '< 1e-2', '< 0.1', '> 0.1') if limit[0] == '>' or off < float(limit[2:]))}")
E
observe python "$tmp/program.py"
verdict <<'E'
DEISMultistepScheduler of order 3, 10 steps: error < 1e-4
DEISMultistepScheduler of order 3, 250 steps: error < 0.1
DEISMultistepScheduler of order 3, 500 steps: error > 0.1
DEISMultistepScheduler of order 2, 10 steps: error < 1e-4
DEISMultistepScheduler of order 2, 250 steps: error < 1e-2
DEISMultistepScheduler of order 2, 500 steps: error < 1e-2
UniPCMultistepScheduler of order 3, 10 steps: error < 1e-4
UniPCMultistepScheduler of order 3, 250 steps: error < 1e-4
UniPCMultistepScheduler of order 3, 500 steps: error < 1e-4
DPMSolverMultistepScheduler of order 2, 10 steps: error < 1e-4
DPMSolverMultistepScheduler of order 2, 250 steps: error < 1e-4
DPMSolverMultistepScheduler of order 2, 500 steps: error < 1e-4
E
