"""Whole checkpoints as diffusers and transformers write and read them, in whichever generation this Python has."""
import json
import pathlib
import sys

sys.modules["ftfy"] = None  # the originals clean text in another way where ftfy is installed
import diffusers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast  # noqa: E402

torch.set_num_threads(1)
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

TOKENIZER = pathlib.Path(__file__).parents[2] / "configs" / "models" / "emoji" / "tokenizer"  # CLIP's bytes without merges, read by both generations
PROMPTS, NEGATIVES = ["a painting of a cat", "A clipart image of an object."], ["blurred", ""]
STEPS, STRENGTH, GUIDANCE, IMAGE_GUIDANCE, NOISE = 10, 0.8, 7.5, 1.5, 7

CROSS_DOWN, CROSS_UP, DOWN, UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D", "DownBlock2D", "UpBlock2D"
UNET = {"norm_num_groups": 8, "cross_attention_dim": 24, "layers_per_block": 1, "attention_head_dim": 4, "sample_size": 16}
TEXT = {"vocab_size": 514, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 32,
        "bos_token_id": 512, "eos_token_id": 513}
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def blocks(channels, down, up):
    return {"block_out_channels": channels, "down_block_types": down, "up_block_types": up}


def vae(channels, **more):
    return {"norm_num_groups": 4, **blocks(channels, ["DownEncoderBlock2D"] * len(channels), ["UpDecoderBlock2D"] * len(channels)), **more}


# latent channels of the UNet, the autoencoder, the text encoder, the scheduler; saving: how the whole is saved; size: height and width of the images
CHECKPOINTS = {
    "SD 1": {
        "unet": blocks([16, 32, 32], [CROSS_DOWN, CROSS_DOWN, DOWN], [UP, CROSS_UP, CROSS_UP]), "vae": vae([8, 16, 16]), "text": {},
        "scheduler": ["PNDMScheduler", {**STABLE, "skip_prk_steps": True, "set_alpha_to_one": False}], "size": [36, 60]},
    "SD 2": {
        "unet": {**blocks([16, 32], [CROSS_DOWN, DOWN], [UP, CROSS_UP]), "attention_head_dim": [2, 4], "use_linear_projection": True, "upcast_attention": True},
        "vae": vae([8, 16]), "text": {"hidden_act": "gelu", "projection_dim": 16}, "tokenizer": {"pad_token": "!"},
        "scheduler": ["DDIMScheduler", {**STABLE, "clip_sample": False, "prediction_type": "v_prediction"}], "saving": {"max_shard_size": "50KB"},
        "size": [24, 28]},
    "InstructPix2Pix": {
        "unet": {**blocks([16, 32], [CROSS_DOWN, DOWN], [UP, CROSS_UP]), "in_channels": 8, "mid_block_scale_factor": 1.5}, "vae": vae([8, 16, 16, 16]),
        "text": {}, "scheduler": ["EulerAncestralDiscreteScheduler", {**STABLE, "timestep_spacing": "trailing"}], "size": [72, 40]},
    "lists": {
        "unet": {**blocks([16, 32], [CROSS_DOWN, CROSS_DOWN], [CROSS_UP, CROSS_UP]), "layers_per_block": [1, 2], "transformer_layers_per_block": [2, 1],
                 "only_cross_attention": [True, False], "in_channels": 6, "out_channels": 6, "center_input_sample": True, "norm_eps": 1e-3},
        "vae": vae([8, 16], latent_channels=6, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, force_upcast=False),
        "text": {"layer_norm_eps": 1e-3}, "scheduler": ["DPMSolverMultistepScheduler", {**STABLE, "timestep_spacing": "trailing"}], "size": [20, 16]},
    "other settings": {
        "unet": {**blocks([24, 40], [DOWN, CROSS_DOWN], [CROSS_UP, UP]), "flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0,
                 "only_cross_attention": True, "act_fn": "swish"},
        "vae": vae([12, 16], mid_block_add_attention=False), "text": {"hidden_act": "gelu"}, "older text encoder": True,
        "scheduler": ["EulerDiscreteScheduler", {**STABLE, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}],
        "size": [16, 24]},
}


def randomised(model, by=0.1):
    """Norms and biases too, which begin as ones and zeros: a swapped or forgotten one must show."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(by * torch.randn_like(parameter))
    return model.eval()


def read_from_older_file(model, folder):
    """The text encoder, loaded from a file whose names have the prefix, as they had before transformers 5. Saved again, it keeps it."""
    model.save_pretrained(folder)
    path = pathlib.Path(folder) / "model.safetensors"
    weights = {"text_model." + name.removeprefix("text_model."): tensor.clone() for name, tensor in load_file(path).items()}
    save_file(weights, path, {"format": "pt"})
    return CLIPTextModel.from_pretrained(folder).eval()


def save_one(name, folder):
    """One of CHECKPOINTS, with random weights."""
    config = CHECKPOINTS[name]
    text_encoder = randomised(CLIPTextModel(CLIPTextConfig(**{**TEXT, **config["text"]})))
    if "older text encoder" in config:
        text_encoder = read_from_older_file(text_encoder, f"{folder}/older text encoder")
    cls, scheduler = config["scheduler"]
    unet = {**UNET, **config["unet"]}
    pipeline = "StableDiffusionInstructPix2PixPipeline" if name == "InstructPix2Pix" else "StableDiffusionPipeline"
    getattr(diffusers, pipeline)(
        unet=randomised(diffusers.UNet2DConditionModel(**unet)), vae=randomised(diffusers.AutoencoderKL(**config["vae"])), text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER, **config.get("tokenizer", {})), scheduler=getattr(diffusers, cls)(**scheduler),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False).save_pretrained(f"{folder}/{name}", **config.get("saving", {}))


def save(folder):
    """All CHECKPOINTS, with random weights, each in a folder of its name."""
    torch.manual_seed(1)
    for name in CHECKPOINTS:
        save_one(name, folder)


def text_side_of_the_next(folder):
    """Transformers 4 finds no vocabulary in a tokenizer.json alone, and none of its names in a text encoder without prefix: so both are read by hand."""
    config = json.loads((folder / "tokenizer" / "tokenizer_config.json").read_text())
    weights = {}
    for file in (folder / "text_encoder").glob("*.safetensors"):
        weights.update({"text_model." + name.removeprefix("text_model."): tensor for name, tensor in load_file(file).items()})
    text_encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / "text_encoder")).eval()
    text_encoder.load_state_dict(weights)
    return text_encoder, PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"), pad_token=config["pad_token"],
                                                 model_max_length=config["model_max_length"])


def load(folder):
    """As the pipeline that translates images."""
    folder = pathlib.Path(folder)
    own = json.loads((folder / "model_index.json").read_text())["_class_name"]
    cls = getattr(diffusers, own if "InstructPix2Pix" in own else "StableDiffusionImg2ImgPipeline")
    without = {"safety_checker": None, "feature_extractor": None}
    if transformers.__version__ < "5" and not (folder / "tokenizer" / "vocab.json").exists():
        pipe = cls.from_pretrained(folder, text_encoder=None, tokenizer=None, **without)
        pipe.text_encoder, pipe.tokenizer = text_side_of_the_next(folder)
    else:
        pipe = cls.from_pretrained(folder, **without)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def compute(folder, given, result):
    """What each part and the whole pipeline make of `given`. The pipeline's noise is what a generator seeded with NOISE draws."""
    given, pipe = load_file(given), load(folder)
    frame = {"padding": "max_length", "max_length": pipe.tokenizer.model_max_length, "truncation": True, "return_tensors": "pt"}
    ids = pipe.tokenizer(PROMPTS + NEGATIVES, **frame)["input_ids"]
    scales = {"image_guidance_scale": IMAGE_GUIDANCE} if pipe.unet.config.in_channels > pipe.vae.config.latent_channels else {"strength": STRENGTH}
    with torch.no_grad():
        posterior = pipe.vae.encode(given["images.0"]).latent_dist
        out = {"ids": ids, "hidden": pipe.text_encoder(ids)[0], "output": pipe.unet(given["sample.0"], given["timesteps.0"], given["text.0"]).sample,
               "mean": posterior.mean, "logvar": posterior.logvar, "decoded": pipe.vae.decode(given["noise.0"]).sample}
        latents = pipe(PROMPTS, given["images.0"] / 2 + 0.5, negative_prompt=NEGATIVES, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                       generator=torch.Generator().manual_seed(NOISE), output_type="latent", **scales).images
        out["images"] = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, result)


def compute_all(folders, given, results):
    """compute() of several: one start of the libraries takes longer than they do."""
    for one in zip(folders, given, results):
        compute(*one)


def save_again(folder, to):
    diffusers.DiffusionPipeline.from_pretrained(folder).save_pretrained(to)


def versions():
    return {module.__name__: [module.__version__, module.__file__] for module in (torch, diffusers, transformers)}
