#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0.
# Expected: UniPCMultistepScheduler with solver_type "bh1", which its documentation recommends for few steps, or with predict_x0 False samples as it does by default.
# Happens: every value is NaN after the last step, whatever the number of steps, unless final_sigmas_type is "sigma_min". Nothing is said.
# Matters: the images are black, or an upcast of the autoencoder is tried in vain, and the model is blamed; the trajectory is right up to the last step.
# Source: diffusers/schedulers/scheduling_unipc_multistep.py, multistep_uni_p_bh_update: sigma 0 makes B(h) infinite, which is multiplied by a sum of 0 (of bh2 it is -1).
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.24.0 torch==2.15.0 numpy==2.4.6 scipy==1.17.1
cat > "$tmp/program.py" <<'E'
import diffusers, torch
torch.manual_seed(0)
original, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
for settings in {}, {"solver_type": "bh1"}, {"predict_x0": False}, {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}:
    scheduler = diffusers.UniPCMultistepScheduler(beta_schedule="scaled_linear", **settings)
    scheduler.set_timesteps(10)
    scheduler.set_begin_index(0)
    sample, shares = scheduler.add_noise(original, noise, scheduler.timesteps[:1]), []
    for t in scheduler.timesteps:
        sample = scheduler.step(noise, t, sample, return_dict=False)[0]  # a model that knows the noise
        shares.append(sample.isnan().float().mean().item())
    print(f"{settings}: share of NaN after step 9 {shares[8]}, after step 10 {shares[9]}")
E
observe python "$tmp/program.py"
verdict <<'E'
{}: share of NaN after step 9 0.0, after step 10 0.0
{'solver_type': 'bh1'}: share of NaN after step 9 0.0, after step 10 1.0
{'predict_x0': False}: share of NaN after step 9 0.0, after step 10 1.0
{'solver_type': 'bh1', 'final_sigmas_type': 'sigma_min'}: share of NaN after step 9 0.0, after step 10 0.0
E
