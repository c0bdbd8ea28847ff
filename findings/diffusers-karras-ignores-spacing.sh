#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: timestep_spacing means the same for all schedulers that take it, and use_karras_sigmas, which sets how sigmas are spread, leaves or overrules it in all alike.
# Happens: with use_karras_sigmas=True, DPMSolverMultistep, UniPC and DEIS ignore timestep_spacing without a word and end at timestep 0; Euler, Heun and LMS honour it.
# Matters: "the same settings with another sampler" is not: after a change from Euler to DPM++ the noise levels differ from the first step on (800 against 999).
# Source: set_timesteps in scheduling_dpmsolver_multistep.py, scheduling_unipc_multistep.py, scheduling_deis_multistep.py (sigmas of all training timesteps are converted)
#   and in scheduling_euler_discrete.py (those of the spaced timesteps are).
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import diffusers
for name in "EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "DPMSolverMultistep", "UniPCMultistep", "DEISMultistep":
    kind, ends = getattr(diffusers, name + "Scheduler"), {}
    for spacing in "linspace", "leading", "trailing":
        scheduler = kind(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing=spacing, use_karras_sigmas=True)
        scheduler.set_timesteps(5)
        ends[spacing] = round(scheduler.timesteps[0].item()), round(scheduler.timesteps[-1].item())
    print(f"{name}: first and last of 5 timesteps {ends}")
E
observe python "$tmp/program.py"
verdict <<'E'
EulerDiscrete: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (800, 0), 'trailing': (999, 199)}
HeunDiscrete: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (800, 0), 'trailing': (999, 199)}
LMSDiscrete: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (800, 0), 'trailing': (999, 199)}
DPMSolverMultistep: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (999, 0), 'trailing': (999, 0)}
UniPCMultistep: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (999, 0), 'trailing': (999, 0)}
DEISMultistep: first and last of 5 timesteps {'linspace': (999, 0), 'leading': (999, 0), 'trailing': (999, 0)}
E
