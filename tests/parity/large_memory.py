"""What `syncdr translate` takes in memory with a checkpoint of Stable Diffusion 1.5's size (random weights, 4 GB on disk), beside the weights' own bytes. The
second direction's model is made while the first's is there: if they did not share their networks, no bound would hold."""
import os
import pathlib
import subprocess
import tempfile

import diffusers
import torch
from large_real_size import TEXTS, UNET_1, VAE, peak_of
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

PROJECT = pathlib.Path(__file__).parents[2]
BIN = pathlib.Path(os.environ["SYNCDR_BIN"])

# A setting that adds a LoRA to every layer of the UNet; FOLDER is where it lies.
LORA = 'translate.diffusion.lora=[{file = "FOLDER/lora.safetensors"}]'
# Settings, and the most that the peak may be of the weights in float32.
CASES = {
    "fp32": ([], 1.6),
    "fp32 without Winograd": (["translate.diffusion.winograd=false"], 1.25),
    "an fp16 file in bf16": (["translate.diffusion.variant=fp16", "translate.diffusion.precision=bf16"], 0.85),
    "fp32 without Winograd, with a LoRA": (["translate.diffusion.winograd=false", LORA], 1.25),
    "an fp16 file in bf16, with a LoRA": (["translate.diffusion.variant=fp16", "translate.diffusion.precision=bf16", LORA], 0.85),
}


def write_checkpoint(folder):
    """Both variants, and a LoRA of rank 64, as LCM-LoRA has. -> bytes of the weights in float32"""
    torch.manual_seed(0)
    pipeline = diffusers.StableDiffusionPipeline(
        unet=diffusers.UNet2DConditionModel(**UNET_1), vae=diffusers.AutoencoderKL(**VAE), text_encoder=CLIPTextModel(TEXTS["Stable Diffusion 1.5"]),
        tokenizer=CLIPTokenizer.from_pretrained(PROJECT / "configs/models/emoji/tokenizer", model_max_length=77),
        scheduler=diffusers.DDIMScheduler(steps_offset=1, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)
    size = sum(4 * p.numel() for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder) for p in part.parameters())
    pipeline.to(torch.float16).save_pretrained(folder, variant="fp16")
    pairs = {}
    for name, layer in pipeline.unet.named_modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
            out, size_in, *sides = layer.weight.shape
            pairs[f"unet.{name}.lora_A.weight"] = 0.01 * torch.randn(64, size_in, *sides, dtype=torch.float16)
            pairs[f"unet.{name}.lora_B.weight"] = 0.01 * torch.randn(out, 64, *(1 for _ in sides), dtype=torch.float16)
    save_file(pairs, folder.parent / "lora.safetensors")
    return size


def write_dataset(folder):
    """Two domains of four pictures."""
    for domain in ("photo", "sketch"):
        for index in range(4):
            file = folder / "pictures" / domain / "thing" / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 64), (60 * index, 90, 120)).save(file)
    subprocess.run([BIN / "syncdr-data", "pack", folder / "pictures", "-o", folder / "data", "--no-disjoint", "--codec", "png"], check=True, capture_output=True)
    (folder / "prompts.toml").write_text('[photo]\ndescription = "a photo"\n[sketch]\ndescription = "a sketch"\n')


def peak(folder, name, settings):
    base = {"data.root": folder / "data", "data.domains": '["photo", "sketch"]', "run.out": folder / name, "translate.translator": "img2img", "translate.prompts": folder / "prompts.toml",
            "translate.size": 64, "translate.batch": 1, "translate.diffusion.checkpoint": folder / "model", "translate.diffusion.steps": 4, "comm.threads": 2}
    command = [BIN / "syncdr", "translate", PROJECT / "configs/quickstart.toml", *(word for item in base.items() for word in ("--set", "{}={}".format(*item)))]
    for setting in settings:
        command += ["--set", setting.replace("FOLDER", str(folder))]
    process, most = subprocess.Popen(command, stderr=subprocess.PIPE, text=True), 0
    while True:
        try:
            _, errors = process.communicate(timeout=0.02)
            break
        except subprocess.TimeoutExpired:
            most = max(most, peak_of(process.pid))
    if process.returncode != 0:
        raise SystemExit(f"{name}: exit {process.returncode}\n{errors}")
    return most


def main():
    failures = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        size = write_checkpoint(folder / "model")
        write_dataset(folder)
        for title, (settings, bound) in CASES.items():
            most = peak(folder, title.replace(" ", "-"), settings)
            good = most <= bound * size
            print(f"{'ok  ' if good else 'FAIL'} {title}: {most / 2**30:.2f} GiB, {most / size:.2f} of the weights in fp32 (bound {bound})", flush=True)
            failures += [] if good else [title]
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
