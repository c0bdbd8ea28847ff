"""Whole pipelines against diffusers, from checkpoints with small random networks that diffusers writes, with the same noise: norm of the difference /
norm of the original's image (or latents, of inversions), in float32. Ours in bfloat16 is compared with the original in float32 too.

Guidance of 10 and ten calls enlarge rounding; a wrong constant changes the results by far more than the limit.
"""
import json
import os
import subprocess
import sys
import time

import diffusers
import torch
import transformers
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # noqa: E402

from originals_checkpoints import randomised  # noqa: E402
from probe import BIN, FAILURES, FOLDER, distance, probe  # noqa: E402

EMOJI_TOKENIZER = os.path.join(os.path.dirname(__file__), "..", "..", "configs", "models", "emoji", "tokenizer")
TOLERANCE, INVERSION_TOLERANCE = 1e-4, 1e-3  # inversion begins where there is least noise, which enlarges rounding most
BFLOAT16_TOLERANCE = 0.03
STEPS = 10
WORST = {}
SCHEDULERS = ["PNDMScheduler", "DDIMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler",
              "LMSDiscreteScheduler"]
# Few steps: sampler, spacing, steps, strength, guidance, eta
FEW = [("LCMScheduler", "", 4, 0.5, 1.0, 0.0), ("LCMScheduler", "", 8, 1.0, 2.0, 0.0), ("TCDScheduler", "", 4, 0.5, 1.0, 0.3), ("TCDScheduler", "", 4, 1.0, 0.0, 0.0),
       ("EulerDiscreteScheduler", "trailing", 2, 0.5, 0.0, 0.0), ("DDIMScheduler", "trailing", 4, 0.5, 0.0, 0.0),
       ("UniPCMultistepScheduler", "", 10, 0.8, 7.5, 0.0), ("DEISMultistepScheduler", "", 10, 0.8, 7.5, 0.0), ("HeunDiscreteScheduler", "", 6, 0.7, 7.5, 0.0)]
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
TWO = {"block_out_channels": [16, 32], "down_block_types": [CROSS_DOWN, "DownBlock2D"], "up_block_types": ["UpBlock2D", CROSS_UP]}
THREE = {"block_out_channels": [16, 32, 32], "down_block_types": [CROSS_DOWN, CROSS_DOWN, "DownBlock2D"],
         "up_block_types": ["UpBlock2D", CROSS_UP, CROSS_UP]}
# As in Stable Diffusion's own files. Clipped samples (clip_sample) are meant for pixels: with them the original's results move by 2e-4 where the start is
# moved by 1e-7.
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False,
          "set_alpha_to_one": False}
# unet, scheduler, text encoder's activation, the autoencoder's levels, (height, width) of the images
MODELS = {
    "SD 1": (THREE, {**STABLE, "skip_prk_steps": True}, "PNDMScheduler", "quick_gelu", 4, (72, 40)),
    "SD 2": ({**THREE, "attention_head_dim": [1, 2, 4], "use_linear_projection": True},
             {**STABLE, "prediction_type": "v_prediction", "skip_prk_steps": True}, "DDIMScheduler", "gelu", 3, (36, 60)),
    "LCM": ({**THREE, "time_cond_proj_dim": 16}, STABLE, "LCMScheduler", "quick_gelu", 4, (40, 72)),
    "SD 1, wide": ({**THREE, "block_out_channels": [32, 64, 64]}, {**STABLE, "skip_prk_steps": True}, "PNDMScheduler", "quick_gelu", 4, (128, 96)),
    "InstructPix2Pix": ({**TWO, "in_channels": 8}, {**STABLE, "timestep_spacing": "trailing"}, "EulerAncestralDiscreteScheduler", "quick_gelu", 3,
                        (28, 52)),
}
PROMPTS, NEGATIVES, TARGETS = ["a painting of a cat", "A clipart image of an object."], ["blurred", ""], ["a photo", "a sketch of a dog"]


def write_json(folder, name, value):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file)


def write_tokenizer(folder):
    """CLIP's bytes, alone and at a word's end, without merges."""
    CLIPTokenizer.from_pretrained(EMOJI_TOKENIZER, model_max_length=20).save_pretrained(folder)


def write_model(name):
    unet, schedule, scheduler, activation, levels, _ = MODELS[name]
    folder = FOLDER / name
    text = CLIPTextConfig(vocab_size=514, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                          max_position_embeddings=20, hidden_act=activation, eos_token_id=513)
    randomised(CLIPTextModel(text)).save_pretrained(os.path.join(folder, "text_encoder"))
    unet = {"norm_num_groups": 8, "cross_attention_dim": 24, "layers_per_block": 1, "attention_head_dim": 4, "sample_size": 64, **unet}
    randomised(diffusers.UNet2DConditionModel(**unet)).save_pretrained(os.path.join(folder, "unet"))
    width = 32 if "wide" in name else 8  # of which there are kernels for most layers
    vae = {"block_out_channels": [width, 2 * width, 2 * width, 2 * width][:levels], "norm_num_groups": 4, "down_block_types": ["DownEncoderBlock2D"] * levels,
           "up_block_types": ["UpDecoderBlock2D"] * levels}
    randomised(diffusers.AutoencoderKL(**vae)).save_pretrained(os.path.join(folder, "vae"))
    write_json(os.path.join(folder, "scheduler"), "scheduler_config.json", {"_class_name": scheduler, **schedule})
    write_tokenizer(os.path.join(folder, "tokenizer"))
    index = {"_class_name": "StableDiffusionInstructPix2PixPipeline" if unet.get("in_channels") == 8 else "StableDiffusionPipeline",
             "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", scheduler], "safety_checker": [None, None],
             "feature_extractor": [None, None], "requires_safety_checker": False}
    write_json(folder, "model_index.json", index)
    return folder


def load(cls, folder, **more):
    pipe = getattr(diffusers, cls).from_pretrained(folder, safety_checker=None, feature_extractor=None, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def with_scheduler(pipe, folder, name, spacing=""):
    """The checkpoint's own, or another class from its configuration: fresh ones, without what a call before left in them."""
    own = json.load(open(os.path.join(folder, "scheduler", "scheduler_config.json")))
    pipe.scheduler = getattr(diffusers, name or own["_class_name"]).from_config(own, **({"timestep_spacing": spacing} if spacing else {}))
    return pipe


class GivenNoise:
    """While it is entered, diffusers takes its noise from here, in the order of its draws."""
    MODULES = [diffusers.models.autoencoders.vae, diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img,
               diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_img2img,
               diffusers.schedulers.scheduling_euler_ancestral_discrete, diffusers.schedulers.scheduling_ddim, diffusers.schedulers.scheduling_lcm,
               diffusers.schedulers.scheduling_tcd]

    def __init__(self, *noises):
        self.noises = list(noises)

    def draw(self, shape, **_):
        noise = self.noises.pop(0)
        assert noise.shape == torch.Size(shape)
        return noise

    def __enter__(self):
        self.originals = [module.randn_tensor for module in self.MODULES]
        for module in self.MODULES:
            module.randn_tensor = self.draw

    def __exit__(self, *_):
        for module, original in zip(self.MODULES, self.originals):
            module.randn_tensor = original


def check(what, case, ours, theirs, tolerance=TOLERANCE):
    error = distance(ours, theirs)
    WORST[what] = max(WORST.get(what, (0.0,))[0], error), tolerance
    if not error <= tolerance:
        FAILURES.append(what)
        print(f"FAIL {what} {case}: {error:.1e}")


def given_for(folder, size, images=2):
    """Images in [0, 1], as diffusers takes them, and all noise that a run could want."""
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (images, vae.config.latent_channels, size[0] // factor, size[1] // factor)
    smooth = torch.nn.functional.interpolate(torch.rand(images, 3, 4, 4), size, mode="bilinear")
    return {"images": 2 * smooth - 1, "encoding": torch.randn(shape), "start": torch.randn(shape), "step": torch.randn(16, *shape)}, smooth


def lists(cases, *keys):
    return {key: [case[key] for case in cases] for key in keys}


def decoded(pipe, latents):
    with torch.no_grad():
        return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample


def check_guidance_shows(cases, ours):
    """What the texts change must be far above the limit, or a wrong text or scale would pass. Neighbours differ in their guidance."""
    for k in range(len(cases) - 1):
        if cases[k]["guidances"] < cases[k + 1]["guidances"]:
            assert distance(ours[f"images.{k}"], ours[f"images.{k + 1}"]) > 100 * TOLERANCE, cases[k]


def compare_img2img(name):
    folder, size = write_model(name), MODELS[name][-1]
    given, images = given_for(folder, size)
    cases = [{"schedulers": scheduler, "strengths": strength, "guidances": guidance, "etas": 0.0}
             for scheduler in SCHEDULERS for strength in (0.3, 0.8, 1.0) for guidance in (1.0, 7.5, 10.0)]
    cases += [{"schedulers": "", "strengths": 0.5, "guidances": 5.0, "etas": 0.0},
              {"schedulers": "DDIMScheduler", "strengths": 0.8, "guidances": 7.5, "etas": 0.7}]
    ours = probe("img2img", given, folder, prompts=PROMPTS, negatives=NEGATIVES, steps=[STEPS],
                 **lists(cases, "schedulers", "strengths", "guidances", "etas"))
    pipe = load("StableDiffusionImg2ImgPipeline", folder)
    for k, case in enumerate(cases):
        with_scheduler(pipe, folder, case["schedulers"])
        first = STEPS - int(STEPS * case["strengths"])
        with GivenNoise(given["encoding"], given["start"], *given["step"][first:]):
            latents = pipe(PROMPTS, images, strength=case["strengths"], num_inference_steps=STEPS, guidance_scale=case["guidances"],
                           negative_prompt=NEGATIVES, eta=case["etas"], output_type="latent").images
        check(f"img2img {name} {case['schedulers'] or 'own scheduler'}", case, ours[f"images.{k}"], decoded(pipe, latents))
    check_guidance_shows(cases, ours)


def compare_few_steps(name):
    folder, size = FOLDER / name, MODELS[name][-1]
    given, images = given_for(folder, size)
    keys = ("schedulers", "spacings", "steps", "strengths", "guidances", "etas")
    cases = [dict(zip(keys, case)) for case in FEW]
    ours = probe("img2img", given, folder, prompts=PROMPTS, negatives=NEGATIVES, **lists(cases, *keys))
    pipe = load("StableDiffusionImg2ImgPipeline", folder)
    for k, case in enumerate(cases):
        with_scheduler(pipe, folder, case["schedulers"], case["spacings"])
        first = case["steps"] - int(case["steps"] * case["strengths"])
        with GivenNoise(given["encoding"], given["start"], *given["step"][first:]):
            latents = pipe(PROMPTS, images, strength=case["strengths"], num_inference_steps=case["steps"], guidance_scale=case["guidances"],
                           negative_prompt=NEGATIVES, eta=case["etas"], output_type="latent").images
        check(f"img2img {name} {case['schedulers']}", case, ours[f"images.{k}"], decoded(pipe, latents))


def compare_bfloat16(name):
    folder, size = write_model(name), MODELS[name][-1]
    given, images = given_for(folder, size)
    cases = [{"schedulers": scheduler, "strengths": strength, "guidances": guidance, "steps": steps}
             for scheduler, strength, guidance, steps in (("", 0.3, 10.0, 50), ("DDIMScheduler", 0.8, 7.5, 10), ("LCMScheduler", 0.5, 1.0, 4))]
    texts = {"prompts": PROMPTS, "negatives": NEGATIVES, **lists(cases, "schedulers", "strengths", "guidances", "steps")}
    exact, rounded = probe("img2img", given, folder, **texts), probe("img2img", given, folder, **texts, bf16=True)
    pipe = load("StableDiffusionImg2ImgPipeline", folder)
    for k, case in enumerate(cases):
        with_scheduler(pipe, folder, case["schedulers"])
        first = case["steps"] - int(case["steps"] * case["strengths"])
        with GivenNoise(given["encoding"], given["start"], *given["step"][first:]):
            latents = pipe(PROMPTS, images, strength=case["strengths"], num_inference_steps=case["steps"], guidance_scale=case["guidances"],
                           negative_prompt=NEGATIVES, output_type="latent").images
        theirs, label = decoded(pipe, latents), f"img2img {name} {case['schedulers'] or 'own scheduler'}"
        check(label, case, exact[f"images.{k}"], theirs)
        check(label + " in bfloat16", case, rounded[f"images.{k}"], theirs, BFLOAT16_TOLERANCE)
        assert distance(rounded[f"images.{k}"], theirs) > 10 * TOLERANCE, "this is not bfloat16"


def compare_distilled(name):
    """A UNet that is told the guidance scale, in both pipelines that diffusers has for it: they cut the grid in two ways."""
    folder, size = write_model(name), MODELS[name][-1]
    given, images = given_for(folder, size)
    cases = [{"steps": steps, "strengths": strength, "belows": below, "guidances": guidance}
             for steps, strength, below in ((4, 0.5, 1.0), (4, 1.0, 0.5), (6, 1.0, 0.8), (3, 1.0, 1.0)) for guidance in (1.0, 8.5)]
    ours = probe("img2img", given, folder, prompts=PROMPTS, **lists(cases, "steps", "strengths", "belows", "guidances"))
    plain, latent = load("StableDiffusionImg2ImgPipeline", folder), load("LatentConsistencyModelImg2ImgPipeline", folder)
    for k, case in enumerate(cases):
        pipe = plain if case["strengths"] < 1 else latent
        with_scheduler(pipe, folder, "")
        first = case["steps"] - int(case["steps"] * case["strengths"])
        with GivenNoise(given["encoding"], given["start"], *given["step"][first:]):
            latents = pipe(PROMPTS, images, strength=case["strengths"] * case["belows"], num_inference_steps=case["steps"], guidance_scale=case["guidances"],
                           output_type="latent").images
        check(f"img2img {name} {type(pipe).__name__}", case, ours[f"images.{k}"], decoded(pipe, latents))
    check_guidance_shows(cases, ours)


def compare_instruct(name):
    folder, size = write_model(name), MODELS[name][-1]
    given, images = given_for(folder, size)
    pairs = [(7.5, 1.5), (10.0, 1.2), (10.0, 1.0), (2.0, 2.0), (1.0, 1.0)]
    cases = [{"schedulers": scheduler, "guidances": text, "image_guidances": image} for scheduler in ["", *SCHEDULERS] for text, image in pairs]
    ours = probe("instruct", given, folder, prompts=PROMPTS, negatives=NEGATIVES, steps=[STEPS],
                 **lists(cases, "schedulers", "guidances", "image_guidances"))
    pipe = load("StableDiffusionInstructPix2PixPipeline", folder)
    for k, case in enumerate(cases):
        with_scheduler(pipe, folder, case["schedulers"])
        with GivenNoise(*given["step"]):
            latents = pipe(PROMPTS, images, num_inference_steps=STEPS, guidance_scale=case["guidances"], image_guidance_scale=case["image_guidances"],
                           negative_prompt=NEGATIVES, latents=given["start"], output_type="latent").images
        check(f"instruct {case['schedulers'] or 'own scheduler'}", case, ours[f"images.{k}"], decoded(pipe, latents))


def inverted(pipe, images, prompts, depth, guidance):
    """DiffEdit's inversion, from the mode of the posterior."""
    sample = DiagonalGaussianDistribution.sample
    DiagonalGaussianDistribution.sample = lambda self, *_, **__: self.mode()
    latents = pipe.invert(prompts, images, inpaint_strength=depth, num_inference_steps=STEPS, guidance_scale=guidance,
                          negative_prompt=NEGATIVES).latents
    DiagonalGaussianDistribution.sample = sample
    return latents[:, 0]


def denoised(pipe, latents, prompts, depth, guidance):
    """DDIM over the last `depth` of the steps, as image to image's loop, but from given latents."""
    pipe.scheduler.set_timesteps(STEPS)
    text, negative = pipe.encode_prompt(prompts, "cpu", 1, guidance > 1, NEGATIVES)
    with torch.no_grad():
        for time_step in pipe.scheduler.timesteps[STEPS - int(STEPS * depth):]:
            output = pipe.unet(latents, time_step, text).sample
            if guidance > 1:
                without = pipe.unet(latents, time_step, negative).sample
                output = without + guidance * (output - without)
            latents = pipe.scheduler.step(output, time_step, latents, return_dict=False)[0]
    return decoded(pipe, latents)


def compare_inversion(name):
    folder, size = FOLDER / name, MODELS[name][-1]
    given, images = given_for(folder, size)
    cases = [{"strengths": depth, "guidances": guidance, "schedulers": "DDIMScheduler"} for depth in (0.3, 0.8, 1.0) for guidance in (1.0, 3.0)]
    texts = {"prompts": PROMPTS, "negatives": NEGATIVES, "steps": [STEPS]}
    latents = probe("invert", {"images": given["images"]}, folder, **texts, **lists(cases, "strengths", "guidances"))
    bridged = probe("ddib", {"images": given["images"]}, folder, **texts, targets=TARGETS, **lists(cases, "strengths", "guidances", "schedulers"))
    pipe = load("StableDiffusionDiffEditPipeline", folder, inverse_scheduler=None)
    for k, case in enumerate(cases):
        with_scheduler(pipe, folder, "DDIMScheduler")
        pipe.inverse_scheduler = diffusers.DDIMInverseScheduler.from_config(pipe.scheduler.config)
        theirs = inverted(pipe, images, PROMPTS, case["strengths"], case["guidances"])
        check(f"invert {name}", case, latents[f"latents.{k}"], theirs, INVERSION_TOLERANCE)
        images_back = denoised(pipe, theirs, TARGETS, case["strengths"], case["guidances"])
        check(f"ddib {name}", case, bridged[f"images.{k}"], images_back, INVERSION_TOLERANCE)


def check_help():
    shown = subprocess.run([BIN / "parity_probe", "--help"], check=True, capture_output=True, text=True).stdout.splitlines()
    for what in ("tokenize", "text", "vae-encode", "vae-decode", "unet", "encoder", "schedule", "img2img", "instruct", "invert", "ddib"):
        assert "->" in " ".join(shown[shown.index(f"  {what}"):][1:4]), what


began = time.time()
check_help()
torch.manual_seed(1)
torch.set_num_threads(1)
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.set_verbosity_error()
compare_img2img("SD 1")
compare_img2img("SD 2")
compare_few_steps("SD 1")
compare_few_steps("SD 2")
compare_distilled("LCM")
compare_instruct("InstructPix2Pix")
compare_inversion("SD 1")
compare_inversion("SD 2")
compare_bfloat16("SD 1, wide")
for what, (error, tolerance) in WORST.items():
    print(f"{'FAIL' if what in FAILURES else 'ok  '} {what}: at most {error:.1e} (allowed {tolerance:.0e})")
print(f"{time.time() - began:.0f} s")
if FAILURES:
    raise SystemExit(f"{len(FAILURES)} comparisons failed")
