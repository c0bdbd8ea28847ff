"""The published models' own sizes with random weights, written by diffusers and transformers: every parameter is found under its name with its
shape (loading is strict both ways), one call agrees in float32, and what it takes in memory. 4 GB on disk, 11 GB of memory, minutes.
"""
import json
import os
import subprocess
import tempfile
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from originals_elite import Mapper

PROBE = os.path.join(os.environ["SYNCDR_BIN"], "parity_probe")
TOLERANCE = 1e-4
FAILURES = []

UNET_1 = {"sample_size": 64, "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "attention_head_dim": 8, "cross_attention_dim": 768}
UNETS = {
    "Stable Diffusion 1.5": UNET_1,
    "InstructPix2Pix": {**UNET_1, "in_channels": 8},
    "Stable Diffusion 2.1": {**UNET_1, "sample_size": 96, "attention_head_dim": [5, 10, 20, 20], "cross_attention_dim": 1024,
                             "use_linear_projection": True, "upcast_attention": True},
}
TEXTS = {
    "Stable Diffusion 1.5": CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=49408,
                                           projection_dim=768),
    "Stable Diffusion 2.1": CLIPTextConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, vocab_size=49408,
                                           hidden_act="gelu", projection_dim=512),
}
VISION = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14, projection_dim=768)  # ViT-L/14
VAE = {"sample_size": 512, "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
       "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}


def probe(what, tensors, folder):
    """Our outputs and the program's peak memory in bytes."""
    source, result = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, source)
    process, peak = subprocess.Popen([PROBE, what, "--model", folder, "--in", source, "--out", result]), 0
    while process.poll() is None:  # getrusage would count what this process had when it started the other
        peak = max(peak, peak_of(process.pid))
        time.sleep(0.005)
    if process.returncode != 0:
        raise SystemExit(f"parity_probe {what} exited with {process.returncode}")
    return load_file(result), peak


def peak_of(pid):
    with open(f"/proc/{pid}/status") as file:
        lines = [line.split() for line in file if line.startswith("VmHWM")]
    return 1024 * int(lines[0][1]) if lines else 0  # one that has just ended has none


def report(what, model, ours, theirs, memory):
    error = float((ours - theirs).norm() / theirs.norm()) if ours.shape == theirs.shape else float("inf")
    count, size = sum(1 for _ in model.named_parameters()), sum(p.numel() for p in model.parameters())
    print(f"{'ok  ' if error <= TOLERANCE else 'FAIL'} {what}: {count} parameters of {size / 1e6:.0f} M values, relative error {error:.1e}, "
          f"peak {memory / 2**30:.2f} GiB (weights {4 * size / 2**30:.2f})", flush=True)
    if not error <= TOLERANCE:
        FAILURES.append(what)


def written(model, folder):
    """Random norms and biases too, which begin as ones and zeros."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.eval().save_pretrained(folder)
    return model


def compare_unet(name, config, folder):
    model = written(UNet2DConditionModel(**config), folder)
    side = 64
    tensors = {"sample.0": torch.randn(1, model.config.in_channels, side, side), "timesteps.0": torch.tensor(481),
               "text.0": torch.randn(1, 77, model.config.cross_attention_dim)}
    with torch.no_grad():
        theirs = model(tensors["sample.0"], tensors["timesteps.0"], tensors["text.0"]).sample
    ours, memory = probe("unet", tensors, folder)
    report(f"{name}, UNet, latents {side}x{side}", model, ours["output.0"], theirs, memory)


def compare_text(name, config, folder):
    model = written(CLIPTextModel(config), os.path.join(folder, "text_encoder"))
    with open(os.path.join(folder, "model_index.json"), "w") as file:
        json.dump({"_class_name": "StableDiffusionPipeline", "text_encoder": ["transformers", "CLIPTextModel"]}, file)
    ids = torch.randint(0, config.vocab_size, (1, 77))
    with torch.no_grad():
        theirs = model(ids).last_hidden_state
    ours, memory = probe("text", {"ids": ids}, folder)
    report(f"{name}, text encoder", model, ours["hidden"], theirs, memory)


def compare_vae(folder):
    model = written(AutoencoderKL(**VAE), folder)
    images, latents = torch.rand(1, 3, 256, 256) * 2 - 1, torch.randn(1, 4, 32, 32)
    with torch.no_grad():
        encoded, decoded = model.encode(images).latent_dist.mean, model.decode(latents).sample
    ours, memory = probe("vae-encode", {"images.0": images, "noise.0": latents}, folder)
    report("Stable Diffusion, autoencoder, encoding 256x256", model, ours["mean.0"], encoded, memory)
    ours, memory = probe("vae-decode", {"noise.0": latents}, folder)
    report("Stable Diffusion, autoencoder, decoding 256x256", model, ours["images.0"], decoded, memory)


def compare_elite(folder):
    """ViT-L/14, then the UNet of Stable Diffusion 1.4 with ELITE's mapper: one call of each."""
    tower = written(CLIPVisionModel(VISION), os.path.join(folder, "tower"))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        states = tower(images, output_hidden_states=True).hidden_states
    ours, memory = probe("vision", {"images": images}, os.path.join(folder, "tower"))
    for k in (0, 4, 8, 12, 16, 24):
        report(f"CLIP ViT-L/14, hidden state {k}", tower, ours[f"state.{k}"], states[k], memory)
    unet = written(UNet2DConditionModel(**UNET_1), os.path.join(folder, "unet"))
    mapper = Mapper(unet, width=1024, hidden=1024, words=768)
    save_file({name: tensor.clone() for name, tensor in mapper.state_dict().items()}, os.path.join(folder, "mapper.safetensors"))
    mapper.put_into(unet)
    tensors = {"sample": torch.randn(1, 4, 64, 64), "timesteps": torch.tensor(481), "text": torch.randn(1, 77, 768)}
    with torch.no_grad():
        words, theirs = mapper.words(states), unet(tensors["sample"], tensors["timesteps"], tensors["text"]).sample
    ours, memory = probe("elite-unet", {**tensors, **{f"state.{k}": state for k, state in enumerate(states)}}, folder)
    report("ELITE, words", mapper, ours["words"], words, memory)
    report("ELITE, UNet of Stable Diffusion 1.4", unet, ours["output"], theirs, memory)


def main():
    logging.set_verbosity_error()
    torch.manual_seed(0)
    for name, config in UNETS.items():
        with tempfile.TemporaryDirectory() as folder:
            compare_unet(name, config, folder)
    for name, config in TEXTS.items():
        with tempfile.TemporaryDirectory() as folder:
            compare_text(name, config, folder)
    for compare in (compare_vae, compare_elite):
        with tempfile.TemporaryDirectory() as folder:
            compare(folder)
    raise SystemExit(f"{len(FAILURES)} differ: {', '.join(FAILURES)}" if FAILURES else 0)


if __name__ == "__main__":
    main()
