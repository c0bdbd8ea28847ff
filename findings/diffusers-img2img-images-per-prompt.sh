#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.15.0. Seen on 2026-11-30.
# Expected: img2img of two images with a prompt each and num_images_per_prompt=2 gives two pictures of image 0 with prompt 0, then two of image 1 with prompt 1.
# Happens: prompts are repeated as 0, 0, 1, 1, and images as 0, 1, 0, 1: picture 1 is image 1 with prompt 0, and picture 2 is image 0 with prompt 1. The message about it speaks of
#   more prompts than images, and comes with num_images_per_prompt too. With one picture per prompt all is right.
# Matters: pictures of a batch translated several times over get another class's prompt, and are filed under the wrong source and label.
# Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_img2img.py: prepare_latents concatenates, encode_prompt repeats each row.
. "$(dirname "$0")/common.sh"
python_packages diffusers==0.42.1 transformers==5.23.0 torch==2.15.0 numpy==2.4.6 pillow==13.0.0
cat > "$tmp/program.py" <<'E'
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
torch.manual_seed(0)
vae = AutoencoderKL(block_out_channels=[32, 64], down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=8)
unet = UNet2DConditionModel(block_out_channels=(32, 64), layers_per_block=1, sample_size=16, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32, norm_num_groups=8)
pipeline = StableDiffusionImg2ImgPipeline(vae, None, None, unet, DDIMScheduler(), None, None, requires_safety_checker=False)
pipeline.set_progress_bar_config(disable=True)
images, prompts = torch.rand(2, 3, 32, 32), torch.randn(2, 7, 32)
def translate(images, prompts, count):
    generators = [torch.Generator().manual_seed(0) for _ in range(len(prompts) * count)]
    return pipeline(image=images, prompt_embeds=prompts, negative_prompt_embeds=torch.zeros_like(prompts), num_images_per_prompt=count, strength=0.1, num_inference_steps=20,
                    generator=generators, output_type="pt").images
alone = {(i, p): translate(images[i:i + 1], prompts[p:p + 1], 1)[0] for i in (0, 1) for p in (0, 1)}
for count in 1, 2:
    for n, picture in enumerate(translate(images, prompts, count)):
        image, prompt = min(alone, key=lambda pair: (alone[pair] - picture).abs().mean())
        print(f"num_images_per_prompt={count}: picture {n} is image {image} with prompt {prompt}, off by less than 1e-5: {(alone[image, prompt] - picture).abs().max().item() < 1e-5}")
E
observe python "$tmp/program.py"
verdict <<'E'
num_images_per_prompt=1: picture 0 is image 0 with prompt 0, off by less than 1e-5: True
num_images_per_prompt=1: picture 1 is image 1 with prompt 1, off by less than 1e-5: True
num_images_per_prompt=2: picture 0 is image 0 with prompt 0, off by less than 1e-5: True
num_images_per_prompt=2: picture 1 is image 1 with prompt 0, off by less than 1e-5: True
num_images_per_prompt=2: picture 2 is image 0 with prompt 1, off by less than 1e-5: True
num_images_per_prompt=2: picture 3 is image 1 with prompt 1, off by less than 1e-5: True
E
