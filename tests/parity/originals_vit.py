"""Vision transformers of transformers in whichever generation this Python has (generations.py calls it): files as they save them, and their features."""
import torch
import transformers
from safetensors.torch import save_file

BLOCKS = 2
SMALL = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "num_hidden_layers": BLOCKS}
BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": BLOCKS}
CLIP = {**BASE, "image_size": 96, "patch_size": 32, "projection_dim": 512}
TEXT = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "bos_token_id": 0, "eos_token_id": 1,
        "pad_token_id": 1}


def randomise(model):
    """All that training changes: weights of a size that lets each matter, norms and scales around one, biases around zero."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm_or_scale = parameter.dim() == 1 and ("norm" in name or "ln" in name or "gamma" in name or "lambda" in name) and not name.endswith("bias")
            if norm_or_scale:
                parameter.uniform_(0.5, 1.5)
            elif parameter.dim() < 2 and name.endswith("bias"):
                parameter.normal_(0, 0.1)
            else:
                fan = parameter[0].numel() if parameter.dim() in (2, 4) and "position" not in name and "embedding.weight" not in name else 25
                parameter.normal_(0, fan ** -0.5)


def clip(images):
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=TEXT, vision_config=CLIP, projection_dim=512))
    return model, lambda: model.visual_projection(model.vision_model(pixel_values=images).pooler_output)


def clip_with_projection(images):
    model = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**CLIP, hidden_act="gelu"))
    return model, lambda: model(pixel_values=images).image_embeds


def clip_alone(images):
    model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**CLIP))
    return model, lambda: model(pixel_values=images).pooler_output


def siglip(images):
    model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**BASE, image_size=64, patch_size=16))
    return model, lambda: model(pixel_values=images).pooler_output


def siglip_whole(images):
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config={**BASE, "image_size": 64, "patch_size": 16, "hidden_act": "gelu"}))
    return model, lambda: model.vision_model(pixel_values=images).pooler_output


def dinov2(images):
    model = transformers.Dinov2Model(transformers.Dinov2Config(hidden_size=384, num_attention_heads=6, num_hidden_layers=BLOCKS, image_size=56, patch_size=14))
    return model, lambda: model(pixel_values=images).pooler_output


def dinov2_with_registers(images):
    model = transformers.Dinov2WithRegistersForImageClassification(transformers.Dinov2WithRegistersConfig(
        hidden_size=384, num_attention_heads=6, num_hidden_layers=BLOCKS, image_size=56, patch_size=14))
    return model, lambda: model.dinov2_with_registers(pixel_values=images).pooler_output


def dinov3(images):
    model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SMALL, image_size=224, patch_size=16, num_register_tokens=4))
    return model, lambda: model(pixel_values=images).last_hidden_state[:, 5:].mean(1)


def dinov3_gated(images):
    model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**SMALL, image_size=224, patch_size=16, num_register_tokens=4, use_gated_mlp=True,
                                                                     hidden_act="silu"))
    return model, lambda: model(pixel_values=images).last_hidden_state[:, 5:].mean(1)


def vit(images):
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, image_size=64, patch_size=16, layer_norm_eps=1e-6))
    return model, lambda: model.vit(pixel_values=images).last_hidden_state[:, 0]


# The row, and the side of the images: few patches.
MODELS = {"clip": ("vit_base_patch32_clip_quickgelu_224", 96), "clip_with_projection": ("vit_base_patch32_clip_224", 96),
          "clip_alone": ("vit_base_patch32_clip_quickgelu_224_unprojected", 96), "siglip": ("vit_base_patch16_siglip_224_tanh", 64),
          "siglip_whole": ("vit_base_patch16_siglip_224", 64), "dinov2": ("vit_small_patch14_dinov2", 56),
          "dinov2_with_registers": ("vit_small_patch14_reg4_dinov2", 56), "dinov3": ("vit_small_patch16_dinov3_qkvb", 64),
          "dinov3_gated": ("vit_small_plus_patch16_dinov3_qkvb", 64), "vit": ("vit_small_patch16_224", 64)}


def save(name, folder, file):
    """Saves the model of MODELS into the folder, and into the file images and their features."""
    torch.manual_seed(7)
    torch.set_num_threads(1)
    images = torch.randn(1, 3, MODELS[name][1], MODELS[name][1])
    model, features = globals()[name](images)
    randomise(model)
    model.eval().save_pretrained(folder)
    with torch.no_grad():
        save_file({"images": images, "features": features().contiguous()}, file)
