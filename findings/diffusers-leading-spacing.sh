#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: with timestep_spacing="leading" any number of steps spans the 1000 training timesteps: more steps, finer ones.
# Happens: the stride is 1000 // steps, so the first timestep moves down: with 400 steps sampling starts at 798, with 501 at 500, although its input is pure noise.
#   DPMSolverMultistepScheduler and UniPCMultistepScheduler divide by steps + 1: with all 1000 steps each timestep is 0.
# Matters: "leading" is the default of DDIM, PNDM, DDPM and of Stable Diffusion's configurations; studies of quality over the number of steps above 200 measure this.
# Source: diffusers/schedulers/scheduling_ddim.py, set_timesteps; scheduling_dpmsolver_multistep.py, set_timesteps.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
from diffusers import DDIMScheduler, PNDMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
for kind in DDIMScheduler, PNDMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler:
    scheduler, first = kind(timestep_spacing="leading"), {}
    for steps in 50, 300, 400, 501, 1000:
        scheduler.set_timesteps(steps)
        first[steps] = int(scheduler.timesteps[0])
    print(f"{kind.__name__}: first timestep by number of steps {first}; with 1000 steps {len(set(scheduler.timesteps.tolist()))} different timesteps")
E
observe python "$tmp/program.py"
verdict <<'E'
DDIMScheduler: first timestep by number of steps {50: 980, 300: 897, 400: 798, 501: 500, 1000: 999}; with 1000 steps 1000 different timesteps
PNDMScheduler: first timestep by number of steps {50: 980, 300: 897, 400: 798, 501: 500, 1000: 999}; with 1000 steps 1000 different timesteps
DPMSolverMultistepScheduler: first timestep by number of steps {50: 950, 300: 900, 400: 800, 501: 501, 1000: 0}; with 1000 steps 1 different timesteps
UniPCMultistepScheduler: first timestep by number of steps {50: 950, 300: 900, 400: 800, 501: 501, 1000: 0}; with 1000 steps 1 different timesteps
E
