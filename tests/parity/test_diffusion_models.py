"""UNet and autoencoder against diffusers, from checkpoints that diffusers writes: norm of the difference / norm of the outputs, in float32.

Random weights hide small mistakes: the tanh approximation of GELU changes the outputs by 1e-5, another epsilon in the norms by 3e-6, and
rounding by less than 1e-6. The limits lie between.
"""
import os

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.utils import logging
from safetensors.torch import load_file, save_file

from originals_checkpoints import randomised
from probe import FAILURES, FOLDER, check, distance, finish, probe

UNET_TOLERANCE, VAE_TOLERANCE = 2e-6, 1e-5
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
UNET = {"norm_num_groups": 8, "cross_attention_dim": 24, "sample_size": 16}

# (batch, height, width, timesteps); then sizes that are no multiples of the downsampling
CASES = [(2, 16, 16, torch.tensor(999)), (3, 8, 24, torch.tensor([0, 431, 7])), (1, 16, 8, torch.tensor([37.25])),
         (2, 20, 12, torch.tensor([500, 3])), (1, 13, 18, torch.tensor(81)), (2, 9, 7, torch.tensor(12))]
UNETS = {
    "SD 1.x": {**UNET, "block_out_channels": [32, 48, 64, 64], "layers_per_block": 2, "attention_head_dim": 8},
    "SD 2.x": {**UNET, "block_out_channels": [32, 64, 96], "layers_per_block": 2, "attention_head_dim": [2, 4, 6],
               "use_linear_projection": True, "upcast_attention": True,
               "down_block_types": [CROSS_DOWN, CROSS_DOWN, "DownBlock2D"], "up_block_types": ["UpBlock2D", CROSS_UP, CROSS_UP]},
    "InstructPix2Pix": {**UNET, "in_channels": 8, "block_out_channels": [32, 64], "layers_per_block": 1, "attention_head_dim": 4,
                        "mid_block_scale_factor": 1.5,
                        "down_block_types": [CROSS_DOWN, "DownBlock2D"], "up_block_types": ["UpBlock2D", CROSS_UP]},
    "lists": {**UNET, "block_out_channels": [16, 32, 64], "layers_per_block": [1, 3, 2], "attention_head_dim": [1, 2, 8],
              "in_channels": 5, "out_channels": 3, "transformer_layers_per_block": [1, 2, 3], "only_cross_attention": [True, False, True],
              "center_input_sample": True, "norm_eps": 1e-3,
              "down_block_types": [CROSS_DOWN, "DownBlock2D", CROSS_DOWN], "up_block_types": [CROSS_UP, "UpBlock2D", CROSS_UP]},
    "other settings": {**UNET, "block_out_channels": [24, 40, 40], "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 5,
                       "flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "only_cross_attention": True, "act_fn": "swish",
                       "sample_size": [8, 16],
                       "down_block_types": ["DownBlock2D", "DownBlock2D", CROSS_DOWN], "up_block_types": ["UpBlock2D", CROSS_UP, "UpBlock2D"]},
    "one level": {**UNET, "block_out_channels": [32], "down_block_types": ["DownBlock2D"], "up_block_types": [CROSS_UP]},
}
VAE = {"norm_num_groups": 8, "sample_size": 32}


def vae(channels, **more):
    return {**VAE, "block_out_channels": channels, "down_block_types": ["DownEncoderBlock2D"] * len(channels),
            "up_block_types": ["UpDecoderBlock2D"] * len(channels), **more}


# name: (configuration, [(batch, height, width)])
VAES = {
    "SD": (vae([16, 32, 64, 64], layers_per_block=2), [(2, 32, 32), (1, 40, 24), (1, 37, 51)]),
    "without quantisation": (vae([16, 32], latent_channels=16, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611,
                                 force_upcast=False, shift_factor=None), [(2, 16, 16), (1, 11, 8)]),
    "without attention": (vae([24, 40, 16], layers_per_block=1, latent_channels=3, in_channels=1, out_channels=2,
                              mid_block_add_attention=False), [(3, 16, 24)]),
    "old names": (vae([32, 64], layers_per_block=1), [(2, 24, 16)]),
}
# AutoencoderTiny; the published TAESD has the first one's levels
TINY_VAES = {
    "tiny": ({}, [(2, 32, 32), (1, 40, 24)]),
    "tiny of two levels": ({"encoder_block_out_channels": (24, 24), "decoder_block_out_channels": (24, 24), "num_encoder_blocks": (2, 0),
                            "num_decoder_blocks": (1, 2), "latent_channels": 16, "scaling_factor": 0.5}, [(2, 16, 12)]),
}


def with_old_names(folder):
    path = os.path.join(folder, "diffusion_pytorch_model.safetensors")
    weights = {name: tensor.clone() for name, tensor in load_file(path).items()}  # a copy, since the file is overwritten
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        weights = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): tensor for name, tensor in weights.items()}
    assert "encoder.mid_block.attentions.0.proj_attn.bias" in weights
    save_file(weights, path, {"format": "pt"})


def compare_unet(name, config):
    model = randomised(UNet2DConditionModel(**config), by=0.3)
    folder = FOLDER / name
    model.save_pretrained(folder)
    given, originals = {}, []
    for k, (batch, height, width, timesteps) in enumerate(CASES):
        sample, text = torch.randn(batch, model.config.in_channels, height, width), torch.randn(batch, 7 + k, 24)
        given.update({f"sample.{k}": sample, f"timesteps.{k}": timesteps, f"text.{k}": text})
        with torch.no_grad():
            originals.append(model(sample, timesteps, text).sample)
    ours = probe("unet", given, folder)
    for k, original in enumerate(originals):
        times = given[f"timesteps.{k}"].tolist()
        check(f"UNet {name} {list(original.shape)} t = {times}", ours[f"output.{k}"], original, UNET_TOLERANCE, distance)
        check(f"UNet {name} {list(original.shape)} packed weights and prepared text", ours[f"prepared.{k}"], original, UNET_TOLERANCE, distance)


def spread_variances(model):
    """The encoder's last bias such that some channels of logvar lie below and some above its limits."""
    conv = model.encoder.conv_out if model.quant_conv is None else model.quant_conv
    with torch.no_grad():
        conv.bias[model.config.latent_channels:] = torch.linspace(-31, 21, model.config.latent_channels)


def compare_vae(name, config, sizes):
    model = randomised(AutoencoderKL(**config), by=0.3)
    spread_variances(model)
    folder = FOLDER / ("vae " + name)
    model.save_pretrained(folder)
    if name == "old names":
        with_old_names(folder)
        model = AutoencoderKL.from_pretrained(folder).eval()
    given, encoded, decoded = {}, [], []
    for k, (batch, height, width) in enumerate(sizes):
        images = torch.rand(batch, model.config.in_channels, height, width) * 2 - 1
        with torch.no_grad():
            latents = model.encode(images).latent_dist
            noise = torch.randn_like(latents.mean)
            encoded.append({"mean": latents.mean, "logvar": latents.logvar, "sample": latents.mean + latents.std * noise})
            decoded.append(model.decode(noise).sample)
        assert float(latents.logvar.min()) == -30 and float(latents.logvar.max()) == 20
        given.update({f"images.{k}": images, f"noise.{k}": noise})
    latents, images = probe("vae-encode", given, folder), probe("vae-decode", given, folder)
    for k, size in enumerate(sizes):
        for key, original in encoded[k].items():
            check(f"autoencoder {name} {list(size)} {key}", latents[f"{key}.{k}"], original, VAE_TOLERANCE, distance)
        check(f"autoencoder {name} {list(size)} decoded", images[f"images.{k}"], decoded[k], VAE_TOLERANCE, distance)
    if float(latents["scaling_factor"]) != model.config.scaling_factor:
        FAILURES.append(f"autoencoder {name} scaling_factor")


def compare_tiny_vae(name, config, sizes):
    model = randomised(AutoencoderTiny(**config), by=0.02)
    folder = FOLDER / ("vae " + name)
    model.save_pretrained(folder)
    given, encoded, decoded = {}, [], []
    for k, (batch, height, width) in enumerate(sizes):
        images = torch.rand(batch, 3, height, width) * 2 - 1
        with torch.no_grad():
            encoded.append(model.encode(images).latents)
            noise = 3 * torch.randn_like(encoded[-1])
            decoded.append(model.decode(noise).sample)
        given.update({f"images.{k}": images, f"noise.{k}": noise})
    latents, images = probe("vae-encode", given, folder), probe("vae-decode", given, folder)
    for k, size in enumerate(sizes):
        for key in ("mean", "sample"):
            check(f"autoencoder {name} {list(size)} {key}", latents[f"{key}.{k}"], encoded[k], VAE_TOLERANCE, distance)
        check(f"autoencoder {name} {list(size)} decoded", images[f"images.{k}"], decoded[k], VAE_TOLERANCE, distance)
    if float(latents["scaling_factor"]) != model.config.scaling_factor:
        FAILURES.append(f"autoencoder {name} scaling_factor")


torch.manual_seed(1)
torch.set_num_threads(1)
logging.set_verbosity_error()
for name, config in UNETS.items():
    compare_unet(name, config)
for name, (config, sizes) in VAES.items():
    compare_vae(name, config, sizes)
for name, (config, sizes) in TINY_VAES.items():
    compare_tiny_vae(name, config, sizes)
finish()
