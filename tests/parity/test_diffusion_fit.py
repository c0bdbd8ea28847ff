"""Translators that `syncdr fit diffusion` trained from scratch, one made here and the one in configs/models, loaded by diffusers: the whole pipeline's
images from the same noise to 1e-4 (norm of the difference / norm of the original's)."""
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import load_file, save_file

from small_fit import SIDE, Workshop, run

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from diffusers import StableDiffusionInstructPix2PixPipeline  # noqa: E402
from diffusers.utils import logging  # noqa: E402

EMBEDDED = pathlib.Path(__file__).parents[2] / "configs" / "models" / "emoji"
TOLERANCE = 1e-4
PROMPTS, STEPS = ["a warm picture", "a cold picture"], 10


def ours(folder, checkpoint, prompts, given):
    save_file(given, folder / "in.safetensors")
    config = {"prompts": prompts, "negatives": ["", ""], "steps": [STEPS], "guidances": [2.0], "image_guidances": [1.0], "schedulers": [""], "etas": [0.0]}
    run("parity_probe", "instruct", "--model", checkpoint, "--in", folder / "in.safetensors", "--out", folder / "out.safetensors",
        "--config", "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items()))
    return load_file(folder / "out.safetensors")["images.0"]


def theirs(pipe, prompts, images, start):
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        latents = pipe(prompts, images, num_inference_steps=STEPS, guidance_scale=2.0, image_guidance_scale=1.0, negative_prompt=["", ""], latents=start,
                       output_type="latent").images
        return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample


def compare(what, folder, checkpoint, prompts, side):
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32)
    latent = side // pipe.vae_scale_factor
    images, start = torch.rand(2, 3, side, side), torch.randn(2, pipe.vae.config.latent_channels, latent, latent)
    result = ours(folder, checkpoint, prompts, {"images": 2 * images - 1, "start": start, "step": torch.zeros(STEPS, *start.shape)})
    original = theirs(pipe, prompts, images, start)
    error = float((result - original).norm() / original.norm())
    print(f"{'ok  ' if error <= TOLERANCE else 'FAIL'} {what} in diffusers' pipeline: {error:.1e} (at most {TOLERANCE:.0e})")
    if error > TOLERANCE or pipe.scheduler.config.prediction_type != "v_prediction" or not pipe.scheduler.config.rescale_betas_zero_snr:
        raise SystemExit("the checkpoint that was written is not the model that was trained")


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="syncdr-parity-") as name:
        folder = pathlib.Path(name)
        compare("a fitted translator", folder, Workshop(folder).fit("diffusion") / "checkpoint", PROMPTS, SIDE)
        compare("the embedded translator", folder, EMBEDDED, ["a colour emoji", "an ink drawing"], 64)


main()
