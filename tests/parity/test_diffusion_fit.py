"""Translators that `syncdr fit diffusion` trained, loaded by diffusers: from scratch, one made here and the one in configs/models, and low-rank additions
to the first, merged and as the LoRA file beside. The whole pipeline's images from the same noise to 1e-4 (norm of the difference / norm of the original's)."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from diffusers import StableDiffusionInstructPix2PixPipeline  # noqa: E402
from diffusers.utils import logging  # noqa: E402

BIN = pathlib.Path(os.environ["SYNCDR_BIN"])
EMBEDDED = pathlib.Path(__file__).parents[2] / "configs" / "models" / "emoji"
TOLERANCE = 1e-4
PROMPTS, STEPS, SIDE = ["a warm picture", "a cold picture"], 10, 16
CONFIG = f"""
[data]
root = "DATA"
[run]
out = "RUN"
[fit.diffusion]
prompts = {json.dumps(PROMPTS)}
steps = 20
batch = 8
dtype = "fp32"
unet = {{ channels = [8, 16], head_width = 8, norm_groups = 4 }}
text = {{ width = 16, layers = 2, heads = 2, length = 20 }}
augment = {{ resize = 18, crop = {SIDE} }}
[fit.diffusion.autoencoder]
steps = 20
batch = 4
channels = [8, 16]
latent_channels = 3
norm_groups = 4
augment = {{ resize = 18, crop = {SIDE} }}
"""


def run(program, *arguments):
    subprocess.run([BIN / program, *arguments], check=True, timeout=240, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})


def write_pictures(folder):
    """A ramp of its own for each picture, the colours of its domain."""
    for domain in ("cold", "warm"):
        for k in range(12):
            path = folder / domain / "things" / f"{k:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.linear_gradient("L").rotate(30 * k).resize((SIDE + 4, SIDE + 4))
            flat = picture.point(lambda value: 40 + value // 4)
            Image.merge("RGB", (picture, flat, flat) if domain == "warm" else (flat, flat, picture)).save(path)


def fit(folder):
    write_pictures(folder / "pictures")
    run("syncdr-data", "pack", folder / "pictures", "-o", folder / "data", "--no-disjoint", "--val", "0", "--test", "0")
    (folder / "fit.toml").write_text(CONFIG.replace("DATA", str(folder / "data")).replace("RUN", str(folder / "run")))
    run("syncdr", "fit", "diffusion", folder / "fit.toml")
    return folder / "run" / "fit" / "diffusion" / "checkpoint"


def fit_lora(folder, checkpoint):
    """Additions to a checkpoint. -> the run's folder"""
    run("syncdr", "fit", "diffusion", folder / "fit.toml", "--set", f"fit.diffusion.from={checkpoint}", "--set", "fit.diffusion.lora_rank=3",
        "--set", f"run.out={folder / 'lora'}", "--set", "fit.diffusion.optimizer.learning_rate=0.02")
    return folder / "lora" / "fit" / "diffusion"


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


def compare_lora(folder, base):
    """The additions on their checkpoint, there and here, and what they were merged into, are one model."""
    fitted = fit_lora(folder, base)
    file = fitted / "pytorch_lora_weights.safetensors"
    pipe = load(base)
    images, start, given = input_for(pipe, SIDE)
    before = theirs(pipe, PROMPTS, images, start)
    pipe.load_lora_weights(fitted)
    original = theirs(pipe, PROMPTS, images, start)
    if distance(before, original) < 100 * TOLERANCE:
        raise SystemExit("the additions change nothing")
    judge("a fitted LoRA, loaded by diffusers and by us", distance(ours(folder, base, PROMPTS, given, [file]), original))
    judge("a fitted LoRA, loaded by diffusers, and its merged checkpoint", distance(ours(folder, fitted / "checkpoint", PROMPTS, given), original))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory(prefix="syncdr-parity-") as name:
        folder = pathlib.Path(name)
        fitted = fit(folder)
        compare("a fitted translator", folder, fitted, PROMPTS, SIDE)
        compare_lora(folder, fitted)
        compare("the embedded translator", folder, EMBEDDED, ["a colour emoji", "an ink drawing"], 64)


main()
