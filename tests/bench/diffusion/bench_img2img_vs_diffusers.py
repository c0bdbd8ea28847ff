"""Images a second of img2img (SDEdit) here, in diffusers and in OpenVINO, on this machine's CPU with the same random weights.

    python3 -m venv BENCH && BENCH/bin/pip install -r tests/bench/diffusion/requirements.txt
    cmake --build build/release --target img2img_rounds
    BENCH/bin/python tests/bench/diffusion/bench_img2img_vs_diffusers.py build/release/bin --rounds 5 [--sides "diffusers;syncdr bf16"] [--json FILE]

A Stable Diffusion 1 layout of medium size (UNet of 64, 128, 256, 256 channels) at 256 pixels, PNDM, strength 0.3 of 50 steps, guidance 10, fp32 unless a side
says bf16, as many threads on all sides, text encoded before. Few steps: LCM, strength 0.5 of 4 steps, no guidance; taesd: with an autoencoder
like TAESD, of 16 channels where the published one has 64, as the model's has a quarter of Stable Diffusion's. OpenVINO: diffusers' pipeline, its UNet and
autoencoder compiled to the batch's shape. Sides alternate in each round, after one that does not count: a machine that slows down does so for all. What is quoted
is the median of the rounds' ratios to the first side. Where others have the machine too, see the processor's seconds. First it says how far OpenVINO's images are
from diffusers', and ours in bf16 from ours in fp32."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

PROJECT = pathlib.Path(__file__).parents[3]
TAESD = "taesd"
STEPS, STRENGTH, GUIDANCE, PROMPT = 50, 0.3, 10.0, "an ink drawing"


def make_model(folder):
    from diffusers import AutoencoderKL, AutoencoderTiny, PNDMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(PROJECT / "configs/models/emoji/tokenizer", model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4))
    unet = UNet2DConditionModel(sample_size=32, block_out_channels=(64, 128, 256, 256), cross_attention_dim=256, attention_head_dim=4)
    vae = AutoencoderKL(block_out_channels=(32, 64, 128, 128), down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
                        layers_per_block=1)
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    pipeline = StableDiffusionImg2ImgPipeline(vae, text, tokenizer, unet, scheduler, None, None, requires_safety_checker=False)
    pipeline.save_pretrained(os.path.join(folder, "model"))
    AutoencoderTiny(encoder_block_out_channels=(16,) * 4, decoder_block_out_channels=(16,) * 4).save_pretrained(os.path.join(folder, TAESD))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def say_error(name, images, exact):
    """Both in [-1, 1]."""
    print(f"{name}: images differ by {np.linalg.norm(images - exact) / np.linalg.norm(exact):.1e} of their norm", flush=True)


class Ours:
    """Our program, which keeps its model from one measurement to the next."""
    programs = {}

    def __init__(self, bench, way, *flags, autoencoder=None):
        self.way, self.result = way, os.path.join(bench.folder, f"result{''.join(flags)}.safetensors")
        command = [os.path.join(bench.options.bin, "img2img_rounds"), "--model", os.path.join(bench.folder, "model"),
                   "--in", os.path.join(bench.folder, "images.safetensors"), "--out", self.result,
                   "--steps", str(STEPS), "--strength", str(STRENGTH), "--guidance", str(GUIDANCE), "--threads", str(bench.options.threads), *flags]
        if autoencoder:
            flags += ("--autoencoder", os.path.join(bench.folder, autoencoder))
            command += flags[-2:]
        if flags not in self.programs:
            self.programs[flags] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.program = self.programs[flags]
        if flags and not autoencoder:
            say_error(f"syncdr {way} {' '.join(flags)}", self.paint(), Ours(bench, way).paint())

    def paint(self):
        self.seconds()
        return load_file(self.result)["images"].clamp(-1, 1).numpy()

    def seconds(self):
        """By the clock, and of the processor."""
        self.program.stdin.write(self.way + "\n")
        self.program.stdin.flush()
        line = self.program.stdout.readline()
        if not line:
            sys.exit("img2img_rounds ended: see above")
        return [float(word) for word in line.split()]


class Diffusers:
    def __init__(self, bench, layout, pipeline=None):
        self.pipeline, self.layout, self.images = pipeline or bench.pipeline, layout, bench.images
        texts = bench.pipeline.encode_prompt(PROMPT, "cpu", len(bench.images), do_classifier_free_guidance=True)
        self.texts = dict(zip(("prompt_embeds", "negative_prompt_embeds"), texts))

    def paint(self):
        return 2 * self.pipeline(image=self.images, **self.texts, strength=STRENGTH, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                                 generator=torch.Generator().manual_seed(0), output_type="np").images - 1

    def seconds(self):
        """By the clock, and of the processor."""
        self.pipeline.unet.to(memory_format=self.layout)
        self.pipeline.vae.to(memory_format=self.layout)
        start = time.perf_counter(), time.process_time()
        self.paint()
        return time.perf_counter() - start[0], time.process_time() - start[1]


class OpenVINO(Diffusers):
    def __init__(self, bench, precision):
        from openvino_networks import with_openvino
        compiled = with_openvino(bench.pipeline, precision, bench.options.threads, len(bench.images), bench.options.size)
        super().__init__(bench, torch.contiguous_format, compiled)
        say_error(f"OpenVINO {precision}", self.paint(), Diffusers(bench, torch.contiguous_format).paint())


SIDES = {"diffusers": (Diffusers, torch.contiguous_format), "diffusers channels last": (Diffusers, torch.channels_last),
         "openvino": (OpenVINO, "f32"), "openvino bf16": (OpenVINO, "bf16"),
         "syncdr": (Ours, "image a thread"), "syncdr bf16": (Ours, "image a thread", "--bf16"),
         "syncdr few steps": (Ours, "few steps"), "syncdr bf16 few steps": (Ours, "few steps", "--bf16"),
         "syncdr few steps, taesd": (lambda bench, *flags: Ours(bench, *flags, autoencoder=TAESD), "few steps"),
         "syncdr bf16 few steps, taesd": (lambda bench, *flags: Ours(bench, *flags, autoencoder=TAESD), "few steps", "--bf16"),
         "syncdr whole batch": (Ours, "whole batch"), "syncdr whole batch, keys and values anew": (Ours, "whole batch, keys and values anew")}


class Bench:
    """What all sides share."""

    def __init__(self, options, folder):
        self.options, self.folder, self.pipeline = options, folder, make_model(folder)
        pixels = np.random.default_rng(0).integers(0, 256, (options.batch, options.size, options.size, 3), dtype=np.uint8)
        save_file({"images": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()}, os.path.join(folder, "images.safetensors"))
        self.images = [Image.fromarray(image) for image in pixels]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=os.path.abspath, help="folder of img2img_rounds")
    parser.add_argument("--sides", type=lambda text: text.split(";"), default=list(SIDES), help=f"some of: {'; '.join(SIDES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", help="where to write the figures")
    options = parser.parse_args()
    for name in set(options.sides) - set(SIDES):
        parser.error(f'no side "{name}". There are: {"; ".join(SIDES)}')
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        sides = {name: SIDES[name][0](bench, *SIDES[name][1:]) for name in options.sides}
        rounds = []
        for number in range(options.rounds + 1):
            rounds.append({name: [options.batch / seconds for seconds in side.seconds()] for name, side in sides.items()})
            print("round", number, {name: round(value[0], 3) for name, value in rounds[-1].items()}, flush=True)
    figures = {}
    for name in sides:
        ratios = [each[name][0] / each[options.sides[0]][0] for each in rounds[1:]]
        by_clock, of_processor = (statistics.median(each[name][kind] for each in rounds[1:]) for kind in (0, 1))
        figures[name] = {"images/s": by_clock, "processor seconds an image": 1 / of_processor, "ratio": statistics.median(ratios), "ratios": ratios}
        print(f"{name:44} {by_clock:7.3f} images/s  {figures[name]['ratio']:5.2f} x  ({min(ratios):.2f} to {max(ratios):.2f})"
              f"  {1 / of_processor:6.2f} processor seconds an image")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=2)


main()
