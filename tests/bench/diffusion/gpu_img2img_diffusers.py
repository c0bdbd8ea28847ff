"""Images a second of img2img (SDEdit) in diffusers, eager and compiled, at Stable Diffusion 1.5's sizes with random weights: what gpu_img2img is compared with.

    python gpu_img2img_diffusers.py [--device cuda] [--batches 1,4,8] [--rounds 3] [--small] [--ways eager,compiled]

Prints a JSON object a line, as gpu_img2img does. Both sides: 512 pixels, PNDM, strength 0.3 of 50 steps, guidance 7.5, bf16, channels last, prompts encoded
before (here random vectors: no text encoder is needed). `--device cpu --small` tries the script without a GPU. Nobody has run it on a GPU yet."""
import argparse
import json
import statistics
import sys
import time

STEPS, STRENGTH, GUIDANCE = 50, 0.3, 7.5
SIZES = {"unet": dict(cross_attention_dim=768, sample_size=64), "vae": dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2), "side": 512}
SMALL = {"unet": dict(cross_attention_dim=64, block_out_channels=(64, 128, 128), layers_per_block=1, attention_head_dim=4, sample_size=8,
                      down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                      up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")),
         "vae": dict(block_out_channels=(32, 64, 64, 64), layers_per_block=1), "side": 64}


def report(row, figure, ok=True, **more):
    print(json.dumps({"row": row, "figure": figure, "ok": ok, **more}), flush=True)


def make_pipeline(sizes, device):
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(**{"attention_head_dim": 8, **sizes["unet"]})
        levels = len(sizes["vae"]["block_out_channels"])
        vae = AutoencoderKL(down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels, **sizes["vae"])
    for network in (unet, vae):
        network.to(torch.bfloat16, memory_format=torch.channels_last).eval()
    scheduler = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    pipeline = StableDiffusionImg2ImgPipeline(vae, None, None, unet, scheduler, None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def measure(pipeline, options, sizes, batch):
    import torch

    draw = torch.Generator().manual_seed(1)
    side, width = sizes["side"], sizes["unet"]["cross_attention_dim"]
    given = {"image": torch.rand((batch, 3, side, side), generator=draw),
             "prompt_embeds": torch.randn((batch, 77, width), generator=draw), "negative_prompt_embeds": torch.randn((batch, 77, width), generator=draw)}
    given = {name: value.to(options.device, torch.bfloat16) for name, value in given.items()}

    def seconds():
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        start = time.perf_counter()
        pipeline(**given, strength=STRENGTH, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=torch.Generator(options.device).manual_seed(0),
                 output_type="pt")
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - start

    warm_ups = [seconds() for _ in range(2)]
    return batch / statistics.median(seconds() for _ in range(options.rounds)), warm_ups[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=["eager", "compiled"])
    options = parser.parse_args()
    try:
        import diffusers
        import torch
    except ImportError as error:
        report("diffusers", f"not measured: {error}")
        return 0
    torch.set_grad_enabled(False)
    sizes, ok = SMALL if options.small else SIZES, True
    pipeline = make_pipeline(sizes, options.device)
    for way in options.ways:
        if way == "compiled":
            pipeline.unet = torch.compile(pipeline.unet, dynamic=False)
            pipeline.vae.decode = torch.compile(pipeline.vae.decode, dynamic=False)
        for batch in options.batches:
            row = f"diffusers {diffusers.__version__} {sizes['side']} px batch {batch}, {way}"
            try:
                images, first = measure(pipeline, options, sizes, batch)
                report(row, f"{images:.3g} images/s" + (f" (first call {first:.0f} s)" if way == "compiled" else ""), batch=batch, images_per_second=images)
            except Exception as error:  # noqa: BLE001: out of memory or a compiler that is missing is a row, and the others still run
                ok = False
                report(row, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160], ok=False)
    return 0 if ok else 1


sys.exit(main())
