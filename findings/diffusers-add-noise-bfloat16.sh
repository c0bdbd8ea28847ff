#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-30.
# Expected: add_noise on bfloat16 latents is that of float32 up to the rounding of its result: 0.029 of the noise at t = 0, 0.041 at t = 1, as the schedule says.
# Happens: alphas_cumprod is cast to the latents' dtype before 1 - alpha is taken. In bfloat16 alpha is 1 at t = 0 and 1, so no noise at all is added; t = 2 to 5 share one level, and the
#   1000 timesteps have 192. float16 has 762, the first off by 7 %. DDPM, DDIM, PNDM and LCM agree; EulerDiscrete, which casts the sigmas, is right.
# Matters: in training with weight_dtype bfloat16 the network is told a timestep that its input does not have, and is asked at t = 0 and 1 for noise that is not there.
# Source: diffusers/schedulers/scheduling_ddpm.py, add_noise.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.23.0 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, LCMScheduler, PNDMScheduler
zero, one = torch.zeros(1), torch.ones(1)
def noise(scheduler, dtype, t): return scheduler.add_noise(zero.to(dtype), one.to(dtype), torch.tensor([t])).item()
for kind in DDPMScheduler, DDIMScheduler, PNDMScheduler, LCMScheduler, EulerDiscreteScheduler:
    scheduler = kind(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    if kind is EulerDiscreteScheduler: scheduler.set_timesteps(1000)
    for dtype in torch.float32, torch.float16, torch.bfloat16:
        print(f"{kind.__name__}, {dtype}: noise at t = 0 to 8:", *(f"{noise(scheduler, dtype, t):.3f}" for t in range(9)), f"levels {len({noise(scheduler, dtype, t) for t in range(1000)})}")
E
observe python "$tmp/program.py"
verdict <<'E'
DDPMScheduler, torch.float32: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.065 0.072 0.078 0.083 0.088 levels 1000
DDPMScheduler, torch.float16: noise at t = 0 to 8: 0.031 0.038 0.049 0.058 0.066 0.073 0.077 0.083 0.088 levels 762
DDPMScheduler, torch.bfloat16: noise at t = 0 to 8: 0.000 0.000 0.062 0.062 0.062 0.062 0.088 0.088 0.088 levels 192
DDIMScheduler, torch.float32: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.065 0.072 0.078 0.083 0.088 levels 1000
DDIMScheduler, torch.float16: noise at t = 0 to 8: 0.031 0.038 0.049 0.058 0.066 0.073 0.077 0.083 0.088 levels 762
DDIMScheduler, torch.bfloat16: noise at t = 0 to 8: 0.000 0.000 0.062 0.062 0.062 0.062 0.088 0.088 0.088 levels 192
PNDMScheduler, torch.float32: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.065 0.072 0.078 0.083 0.088 levels 1000
PNDMScheduler, torch.float16: noise at t = 0 to 8: 0.031 0.038 0.049 0.058 0.066 0.073 0.077 0.083 0.088 levels 762
PNDMScheduler, torch.bfloat16: noise at t = 0 to 8: 0.000 0.000 0.062 0.062 0.062 0.062 0.088 0.088 0.088 levels 192
LCMScheduler, torch.float32: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.065 0.072 0.078 0.083 0.088 levels 1000
LCMScheduler, torch.float16: noise at t = 0 to 8: 0.031 0.038 0.049 0.058 0.066 0.073 0.077 0.083 0.088 levels 762
LCMScheduler, torch.bfloat16: noise at t = 0 to 8: 0.000 0.000 0.062 0.062 0.062 0.062 0.088 0.088 0.088 levels 192
EulerDiscreteScheduler, torch.float32: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.066 0.072 0.078 0.083 0.089 levels 1000
EulerDiscreteScheduler, torch.float16: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.066 0.072 0.078 0.083 0.089 levels 1000
EulerDiscreteScheduler, torch.bfloat16: noise at t = 0 to 8: 0.029 0.041 0.051 0.059 0.065 0.072 0.078 0.083 0.089 levels 770
E
