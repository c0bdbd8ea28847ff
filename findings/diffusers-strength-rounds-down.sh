#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-29.
# Expected: img2img with 50 steps and strength 0.58 denoises 29 steps.
# Happens: 28: the product is 28.999999999999996 in floating point, and is cut off. 12 of the 20,000 pairs of 1 to 200 steps and whole hundredths lose a step so,
#   among them 100 steps with 0.29, 0.57 and 0.58, 200 with 0.57, and 90 with 0.7.
# Matters: an implementation that computes in float32 or rounds starts one step, and one noise level, earlier: its images differ for these pairs only.
# Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_img2img.py, get_timesteps: min(int(num_inference_steps * strength), num_inference_steps).
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import types
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
def steps_taken(steps, strength):
    scheduler = DDIMScheduler(); scheduler.set_timesteps(steps)
    return len(StableDiffusionImg2ImgPipeline.get_timesteps(types.SimpleNamespace(scheduler=scheduler), steps, strength, "cpu")[0])
for steps, strength in (50, 0.58), (50, 0.56), (100, 0.29), (100, 0.57), (90, 0.7), (100, 0.7): print(f"{steps} steps, strength {strength}: {steps_taken(steps, strength)} taken")
lost = [(steps, cent / 100) for steps in range(1, 201) for cent in range(1, 101) if int(steps * (cent / 100)) < steps * cent // 100]
print(f"pairs that lose a step: {len(lost)}, {lost[:4]} ...")
E
observe python "$tmp/program.py"
verdict <<'E'
50 steps, strength 0.58: 28 taken
50 steps, strength 0.56: 28 taken
100 steps, strength 0.29: 28 taken
100 steps, strength 0.57: 56 taken
90 steps, strength 0.7: 62 taken
100 steps, strength 0.7: 70 taken
pairs that lose a step: 12, [(50, 0.58), (90, 0.7), (100, 0.29), (100, 0.57)] ...
E
