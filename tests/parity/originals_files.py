"""What the originals make of files, in whichever generation this Python has (generations.py calls it)."""
import json
import os
import pathlib

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file


def read_safetensors(folder, result):
    """Of each file in the folder: false where it is refused, else {tensor: dtype}. Values go into the file `result`, by FILE|TENSOR."""
    verdicts, values = {}, {}
    for file in sorted(pathlib.Path(folder).iterdir()):
        try:
            with safe_open(file, "pt") as content:
                verdicts[file.name] = {name: content.get_slice(name).get_dtype() for name in content.keys()}
                for name, dtype in verdicts[file.name].items():
                    if dtype in ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"):
                        values[f"{file.name}|{name}"] = content.get_tensor(name).clone()
        except SafetensorError:
            verdicts[file.name] = False
    save_file(values, result)
    return verdicts


def save_checkpoint(folder, variants, seed):
    """A checkpoint whose UNet, autoencoder and text encoder have random weights. variants: of each component that has a variant fp16, whether that is in
    shards, and whether the plain weights are there too; those of the variant are twice as large. -> the files of each component."""
    import diffusers
    import transformers
    torch.manual_seed(seed)
    scale = {"block_out_channels": [8, 16], "norm_num_groups": 4}
    text = transformers.CLIPTextConfig(vocab_size=20, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=8)
    models = {"unet": diffusers.UNet2DConditionModel(**scale, layers_per_block=1, cross_attention_dim=8, attention_head_dim=2, sample_size=8,
                                                     down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
                                                     up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"]),
              "vae": diffusers.AutoencoderKL(**scale, down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2),
              "text_encoder": transformers.CLIPTextModel(text)}
    files = {}
    for name, model in models.items():
        place = os.path.join(folder, name)
        shards, plain = variants.get(name, (False, True))
        if plain:
            model.save_pretrained(place)
        if name in variants:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(2)
            model.half()
            size = sum(parameter.nbytes for parameter in model.parameters())
            model.save_pretrained(place, variant="fp16", max_shard_size=int(0.6 * size) if shards else "10GB")
        files[name] = sorted(os.listdir(place))
    diffusers.DDIMScheduler(clip_sample=False, steps_offset=1).save_pretrained(os.path.join(folder, "scheduler"))
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__, "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"], "scheduler": ["diffusers", "DDIMScheduler"],
             "tokenizer": [None, None], "safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}
    pathlib.Path(folder, "model_index.json").write_text(json.dumps(index))
    return files


def save_checkpoints(folders, cases):
    return [save_checkpoint(folder, variants, seed) for seed, (folder, variants) in enumerate(zip(folders, cases))]


def load_pipelines(folders, variant, results):
    """The weights of pipelines as they are loaded, by COMPONENT|TENSOR; where it is refused, no file."""
    import diffusers
    import transformers
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    for folder, result in zip(folders, results):
        try:
            pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder, variant=variant, tokenizer=None, safety_checker=None, feature_extractor=None,
                                                                     requires_safety_checker=False)
        except ValueError as error:
            assert "no such modeling files are available" in str(error), error
            continue
        save_file({f"{name}|{tensor}": values.contiguous() for name in ("unet", "vae", "text_encoder")
                   for tensor, values in getattr(pipe, name).state_dict().items()}, result)
