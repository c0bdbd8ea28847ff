"""Textual inversion beside a plain PyTorch statement of its training step (the networks are diffusers' and transformers', the draws are ours): losses to
1e-4, the vectors learned to 1e-3. And learned tokens in diffusers' pipeline: the file that we write, and those that its training script and AUTOMATIC1111
write, in both generations: images from the same noise to 1e-4 (norm of the difference / norm of the original's)."""
import json
import sys

import torch
from safetensors.torch import load_file, save_file

from probe import FOLDER, check, distance, finish, probe
from small_fit import SIDE, Workshop

sys.modules["ftfy"] = None  # the original cleans text in another way where ftfy is installed
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel  # noqa: E402
from diffusers.utils import logging  # noqa: E402
from transformers import CLIPTextModel, CLIPTokenizer  # noqa: E402

STEPS, BATCH, RATE, DECAY = 12, 5, 2e-2, 0.01
TOKEN, INITIAL, TEMPLATES = "<cold>", "ice", ["a {}", "the {} look", "{}"]
LATENT = [3, SIDE // 2, SIDE // 2]
CONDITION = {"drop_condition": 0.3, "condition_noise": 0.15, "sigmas": [0.7, 1.8]}
SETTINGS = f"""
[fit.textual_inversion]
from = "FROM"
domains = ["cold"]
initial = ["{INITIAL}"]
vectors = {len(INITIAL)}
templates = {json.dumps(TEMPLATES)}
steps = {STEPS}
batch = {BATCH}
optimizer = {{ name = "adamw", learning_rate = {RATE}, weight_decay = {DECAY} }}
drop_condition = {CONDITION["drop_condition"]}
condition_noise = {CONDITION["condition_noise"]}
sigmas = {CONDITION["sigmas"]}
augment = {{ resize = 18, crop = {SIDE} }}
log_every = 1
"""


class Original:
    """Gal et al. as diffusers' script has it: rows are appended to the token embedding, and they alone are trained."""

    def __init__(self, checkpoint):
        load = lambda cls, part: cls.from_pretrained(checkpoint, subfolder=part).eval().requires_grad_(False)  # noqa: E731
        self.unet, self.text_encoder, self.vae = load(UNet2DConditionModel, "unet"), load(CLIPTextModel, "text_encoder"), load(AutoencoderKL, "vae")
        self.scheduler = DDIMScheduler.from_pretrained(checkpoint, subfolder="scheduler")
        tokenizer = CLIPTokenizer.from_pretrained(checkpoint, subfolder="tokenizer")
        begin = tokenizer(INITIAL, add_special_tokens=False).input_ids
        words = [TOKEN] + [f"{TOKEN}_{k}" for k in range(1, len(begin))]
        assert tokenizer.add_tokens(words) == len(words)
        texts = [template.format(" ".join(words)) for template in TEMPLATES]
        self.ids = tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt").input_ids
        self.table_name, self.table = next(item for item in self.text_encoder.named_parameters() if item[0].endswith("token_embedding.weight"))
        self.begin = self.table[begin].clone()
        self.rows = torch.nn.Parameter(self.begin.clone())
        self.optimizer = torch.optim.AdamW([self.rows], lr=RATE, betas=(0.9, 0.999), weight_decay=DECAY)

    def hidden(self, texts):
        table = torch.cat([self.table, self.rows])
        return torch.func.functional_call(self.text_encoder, {self.table_name: table}, (self.ids[texts],))[0]

    def latents(self, pictures):
        return self.vae.encode(pictures).latent_dist.mode()

    def step(self, draws):
        with torch.no_grad():
            scale = self.vae.config.scaling_factor
            latents = self.latents(draws["images"].float() / 127.5 - 1) * scale
            sample = self.scheduler.add_noise(latents, draws["noise"], draws["times"])
            if "maps" in draws:
                condition = self.latents(draws["maps"].expand(-1, 3, -1, -1)) + draws["condition_noise"] / scale
                sample = torch.cat([sample, condition * draws["keeps"].view(-1, 1, 1, 1)], 1)
            velocity = self.scheduler.config.prediction_type == "v_prediction"
            target = self.scheduler.get_velocity(latents, draws["noise"], draws["times"]) if velocity else draws["noise"]
        loss = torch.nn.functional.mse_loss(self.unet(sample, draws["times"], self.hidden(draws["texts"])).sample, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def compare_training(what, workshop, checkpoint, name, condition):
    learned = workshop.fit("textual-inversion", name, SETTINGS.replace("FROM", str(checkpoint))) / "cold"
    losses = [json.loads(line)["loss"] for line in (learned / "log.jsonl").read_text().splitlines()]
    draws = probe("denoiser_draws", {}, workshop.folder / "data", domain="cold", steps=STEPS, batch=BATCH, texts=len(TEMPLATES), resize=18, crop=SIDE,
                  latent=LATENT, condition=condition, **CONDITION)
    original, expected = Original(checkpoint), []
    for step in range(STEPS):
        expected.append(original.step({key.split(".")[0]: value for key, value in draws.items() if key.endswith(f".{step}")}))
    check(f"{what}: losses of {STEPS} steps, {expected[0]:.3f} to {expected[-1]:.3f}", torch.tensor(losses), torch.tensor(expected), 1e-4)
    file = learned / "learned_embeds.safetensors"
    rows = load_file(file)[TOKEN]
    moved = distance(rows, original.begin)
    assert moved > 1e-2, "nothing was learned"
    check(f"{what}: vectors", rows, original.rows.detach(), 1e-3)
    return file


def ours(checkpoint, prompts, given, tokens):
    return probe("instruct", given, checkpoint, prompts=prompts, negatives=["", ""], steps=[10], guidances=[2.0], image_guidances=[1.0], schedulers=[""],
                 etas=[0.0], tokens=[str(file) for file in tokens])["images.0"]


def theirs(pipe, prompts, images, start):
    with torch.no_grad():
        latents = pipe(prompts, images, num_inference_steps=10, guidance_scale=2.0, image_guidance_scale=1.0, negative_prompt=["", ""], latents=start,
                       output_type="latent").images
        return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample


def compare_images(checkpoint, learned):
    """A token of several vectors, one of one, one without a name."""
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    script, nameless = FOLDER / "script.safetensors", FOLDER / "water.safetensors"
    save_file({"<toy>": torch.randn(1, 16)}, script, metadata={"format": "pt"})  # as the training script saves one vector
    save_file({"emb_params": torch.randn(2, 16)}, nameless)
    pipe.load_textual_inversion(str(learned.parent))  # by the folder
    pipe.load_textual_inversion(str(script))
    pipe.load_textual_inversion(str(nameless), token="water")
    images, start = torch.rand(2, 3, SIDE, SIDE), torch.randn(2, *LATENT)
    given = {"images": 2 * images - 1, "start": start, "step": torch.zeros(10, *start.shape)}
    prompts = [f"a {TOKEN} <toy> x", f"water, {TOKEN}"]
    files = [learned, script, nameless]
    original = theirs(pipe, prompts, images, start)
    without = distance(ours(checkpoint, ["a x", ","], given, files), original)
    check(f"learned tokens, which change the images by {without:.2f}, in diffusers' pipeline", ours(checkpoint, prompts, given, files), original, 1e-4, distance)
    assert without > 1e-2, f"the tokens change the images by {without:.1e} alone"


def heed_texts(checkpoint):
    """A few steps of training leave a UNet that hardly reads its text: what attention to it adds is made larger."""
    file = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: value * 30 if ".attn2.to_out.0." in name else value for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return checkpoint


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    workshop = Workshop(FOLDER)
    structure = heed_texts(workshop.fit("diffusion", "structure") / "checkpoint")
    text = heed_texts(workshop.fit("diffusion", "text", fit__diffusion__layout="text", fit__diffusion__prediction="epsilon",
                                   fit__diffusion__zero_terminal_snr="false") / "checkpoint")
    learned = compare_training("a UNet that takes a structure map, v prediction", workshop, structure, "learned", True)
    compare_training("a plain UNet, noise prediction", workshop, text, "learned-text", False)
    compare_images(structure, learned)
    finish()


main()
