"""Translators that `syncdr fit diffusion` trained, loaded by diffusers: from scratch, one made here and the one in configs/models, and low-rank additions
to the first, merged and as the LoRA file beside. The whole pipeline's images from the same noise to 1e-4 (norm of the difference / norm of the original's)."""
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


def ours(folder, checkpoint, prompts, given, loras=()):
    save_file(given, folder / "in.safetensors")
    config = {"prompts": prompts, "negatives": ["", ""], "steps": [STEPS], "guidances": [2.0], "image_guidances": [1.0], "schedulers": [""], "etas": [0.0],
              "loras": [str(file) for file in loras], "lora_scales": [1.0 for _ in loras]}
    run("parity_probe", "instruct", "--model", checkpoint, "--in", folder / "in.safetensors", "--out", folder / "out.safetensors",
        "--config", "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items()))
    return load_file(folder / "out.safetensors")["images.0"]


def theirs(pipe, prompts, images, start):
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        latents = pipe(prompts, images, num_inference_steps=STEPS, guidance_scale=2.0, image_guidance_scale=1.0, negative_prompt=["", ""], latents=start,
                       output_type="latent").images
        return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample


def input_for(pipe, side):
    latent = side // pipe.vae_scale_factor
    images, start = torch.rand(2, 3, side, side), torch.randn(2, pipe.vae.config.latent_channels, latent, latent)
    return images, start, {"images": 2 * images - 1, "start": start, "step": torch.zeros(STEPS, *start.shape)}


def distance(result, original):
    return float((result - original).norm() / original.norm())


def judge(what, error):
    print(f"{'ok  ' if error <= TOLERANCE else 'FAIL'} {what}: {error:.1e} (at most {TOLERANCE:.0e})", flush=True)
    if error > TOLERANCE:
        raise SystemExit("what was written is not the model that was trained")


def load(checkpoint):
    return StableDiffusionInstructPix2PixPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32)


def compare(what, folder, checkpoint, prompts, side):
    pipe = load(checkpoint)
    images, start, given = input_for(pipe, side)
    judge(f"{what} in diffusers' pipeline", distance(ours(folder, checkpoint, prompts, given), theirs(pipe, prompts, images, start)))
    if pipe.scheduler.config.prediction_type != "v_prediction" or not pipe.scheduler.config.rescale_betas_zero_snr:
        raise SystemExit("the scheduler that was written is not the one that was trained with")


def compare_lora(workshop, base):
    """The additions on their checkpoint, there and here, and what they were merged into, are one model."""
    folder = workshop.folder
    fitted = workshop.fit("diffusion", name="lora", fit__diffusion__from=base, fit__diffusion__lora_rank=3, fit__diffusion__optimizer__learning_rate=0.2)
    file = fitted / "pytorch_lora_weights.safetensors"
    pipe = load(base)
    images, start, given = input_for(pipe, SIDE)
    before = theirs(pipe, PROMPTS, images, start)
    pipe.load_lora_weights(fitted)
    original = theirs(pipe, PROMPTS, images, start)
    moved = distance(before, original)
    if moved < 100 * TOLERANCE:
        raise SystemExit(f"the additions change the images by {moved:.1e} alone")
    judge(f"a fitted LoRA that changes the images by {moved:.2f}, loaded by diffusers and by us", distance(ours(folder, base, PROMPTS, given, [file]), original))
    judge("a fitted LoRA, loaded by diffusers, and its merged checkpoint", distance(ours(folder, fitted / "checkpoint", PROMPTS, given), original))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="syncdr-parity-") as name:
        folder = pathlib.Path(name)
        workshop = Workshop(folder)
        fitted = workshop.fit("diffusion") / "checkpoint"
        compare("a fitted translator", folder, fitted, PROMPTS, SIDE)
        compare_lora(workshop, fitted)
        compare("the embedded translator", folder, EMBEDDED, ["a colour emoji", "an ink drawing"], 64)


main()
