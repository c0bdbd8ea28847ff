"""Images a second of img2img (SDEdit) here and in diffusers, on this machine's CPU with the same random weights.

    cmake --build build/release --target img2img_rounds
    python tests/bench/diffusion/bench_img2img_vs_diffusers.py build/release/bin --rounds 5 [--json FILE]

With the Python beside LibTorch's wheel. A Stable Diffusion 1 layout of medium size (UNet of 64, 128, 256, 256 channels) at 256 pixels, PNDM, strength
0.3 of 50 steps, guidance 10, fp32, as many threads on both sides. Sides alternate in each round, after one that does not count: a machine that slows
down does so for all. What is quoted is the median of the rounds' ratios."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

STEPS, STRENGTH, GUIDANCE, PROMPT = 50, 0.3, 10.0, "an ink drawing"


def make_model(folder):
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    vocabulary = {token: index for index, token in enumerate([*byte_tokens(), "<|startoftext|>", "<|endoftext|>"])}
    os.makedirs(os.path.join(folder, "words"))
    with open(os.path.join(folder, "words", "vocab.json"), "w") as file:
        json.dump(vocabulary, file)
    with open(os.path.join(folder, "words", "merges.txt"), "w") as file:
        file.write("#version: 0.2\n")
    tokenizer = CLIPTokenizer(os.path.join(folder, "words", "vocab.json"), os.path.join(folder, "words", "merges.txt"), model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(vocabulary), hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4))
    unet = UNet2DConditionModel(sample_size=32, block_out_channels=(64, 128, 256, 256), cross_attention_dim=256, attention_head_dim=4)
    vae = AutoencoderKL(block_out_channels=(32, 64, 128, 128), down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4, layers_per_block=1)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    pipeline = StableDiffusionImg2ImgPipeline(vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False)
    pipeline.save_pretrained(os.path.join(folder, "model"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def byte_tokens():
    from transformers.models.clip.tokenization_clip import bytes_to_unicode
    return [*bytes_to_unicode().values(), *(character + "</w>" for character in bytes_to_unicode().values())]


class Ours:
    def __init__(self, options, folder):
        command = [os.path.join(options.bin, "img2img_rounds"), "--model", os.path.join(folder, "model"), "--in", os.path.join(folder, "images.safetensors"),
                   "--steps", str(STEPS), "--strength", str(STRENGTH), "--guidance", str(GUIDANCE), "--threads", str(options.threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def seconds(self, way):
        self.process.stdin.write(way + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("img2img_rounds ended: see above")
        return float(line)


def theirs(pipeline, images, layout):
    pipeline.unet.to(memory_format=layout)
    pipeline.vae.to(memory_format=layout)
    generator = torch.Generator().manual_seed(0)
    start = time.perf_counter()
    pipeline([PROMPT] * len(images), images, strength=STRENGTH, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator, output_type="np")
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of img2img_rounds")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        pipeline = make_model(folder)
        pixels = np.random.default_rng(0).integers(0, 256, (options.batch, options.size, options.size, 3), dtype=np.uint8)
        save_file({"images": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()}, os.path.join(folder, "images.safetensors"))
        images = [Image.fromarray(image) for image in pixels]
        ours = Ours(options, folder)
        sides = {"diffusers": lambda: theirs(pipeline, images, torch.contiguous_format),
                 "diffusers, channels last": lambda: theirs(pipeline, images, torch.channels_last)}
        for way in ("image a thread", "whole batch", "whole batch, keys and values anew"):
            sides["syncdr, " + way] = lambda way=way: ours.seconds(way)
        rounds = []
        for number in range(options.rounds + 1):
            rounds.append({name: options.batch / measure() for name, measure in sides.items()})
            print("round", number, {name: round(value, 3) for name, value in rounds[-1].items()}, flush=True)
    figures = {}
    for name in sides:
        ratios = [each[name] / each["diffusers"] for each in rounds[1:]]
        figures[name] = {"images/s": statistics.median(each[name] for each in rounds[1:]), "ratio": statistics.median(ratios), "ratios": ratios}
        print(f"{name:44} {figures[name]['images/s']:7.3f} images/s  {figures[name]['ratio']:5.2f} x  ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=2)


main()
