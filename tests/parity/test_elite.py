"""CLIP's image tower beside transformers', each hidden state, with every layout of its files; ELITE beside a plain statement of its equations, in whole
pipelines of diffusers' networks and LMS sampler."""
import diffusers
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from generations import is_next
from originals_checkpoints import load, randomised, save_one
from originals_elite import Mapper, cross_attentions
from probe import FOLDER, check, distance, finish, probe

PREFIX = "vision_model."
TOWER = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 5, "num_attention_heads": 3, "image_size": 32, "patch_size": 8}
TOWERS = {"ViT": TOWER, "exact GELU": {**TOWER, "hidden_act": "gelu", "layer_norm_eps": 1e-3}, "odd patches": {**TOWER, "image_size": 31, "patch_size": 7},
          "one patch": {**TOWER, "image_size": 16, "patch_size": 16, "num_hidden_layers": 2}}


# ---- the image tower

def states_of(model, images):
    with torch.no_grad():
        return model(images, output_hidden_states=True).hidden_states


def compare_states(what, model, folder):
    images = torch.randn(2, 3, model.config.image_size, model.config.image_size)
    theirs, ours = states_of(model, images), probe("vision", {"images": images}, folder)
    assert len(ours) == len(theirs) == model.config.num_hidden_layers + 1
    for k, state in enumerate(theirs):
        check(f"{what}, hidden state {k}", ours[f"state.{k}"], state, 1e-5, distance)


def rename(folder, name):
    """The file's tensors under other names."""
    path = folder / "model.safetensors"
    save_file({name(key): tensor.clone() for key, tensor in load_file(path).items()}, path, {"format": "pt"})


def compare_towers():
    for name, config in TOWERS.items():
        model, folder = randomised(CLIPVisionModel(CLIPVisionConfig(**config)), by=0.3), FOLDER / name
        model.save_pretrained(folder)
        compare_states(f"{name}, as transformers {transformers.__version__} saves it", model, folder)
        rename(folder, lambda key: key.removeprefix(PREFIX))
        compare_states(f"{name}, without prefix", model, folder)
        rename(folder, lambda key: PREFIX + key)
        compare_states(f"{name}, with prefix", model, folder)
    model.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    compare_states("in shards", model, folder)


def compare_whole_models():
    config = CLIPVisionConfig(**TOWERS["odd patches"])
    projected = randomised(CLIPVisionModelWithProjection(config), by=0.3)
    projected.save_pretrained(FOLDER / "projected")
    tower = CLIPVisionModel(config)
    tower.load_state_dict({key.removeprefix(PREFIX) if not next(iter(tower.state_dict())).startswith(PREFIX) else key: value
                           for key, value in projected.state_dict().items() if key != "visual_projection.weight"})
    compare_states("CLIPVisionModelWithProjection", tower.eval(), FOLDER / "projected")
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 20, "max_position_embeddings": 8}
    both = randomised(CLIPModel(CLIPConfig(text_config=text, vision_config=TOWERS["odd patches"])), by=0.3)
    both.save_pretrained(FOLDER / "both")
    tower.load_state_dict(both.vision_model.state_dict() if not next(iter(tower.state_dict())).startswith(PREFIX)
                          else {PREFIX + key: value for key, value in both.vision_model.state_dict().items()})
    compare_states("CLIPModel", tower, FOLDER / "both")


def compare_pixels():
    processor = CLIPImageProcessor()
    for height, width, side in ((64, 64, 224), (512, 512, 224), (96, 64, 48), (33, 50, 30)):
        smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9), (height, width), mode="bicubic")
        pictures = (smooth.clamp(0, 1) * 255).round().to(torch.uint8)
        picture = Image.fromarray(pictures[0].permute(1, 2, 0).numpy()).resize((side, side), Image.Resampling.BICUBIC)
        theirs = processor(picture, do_resize=False, do_center_crop=False, return_tensors="pt")["pixel_values"]
        ours = probe("clip-pixels", {"pictures": pictures, "size": torch.zeros(side)})["images"]
        check(f"pixels, {height}x{width} to {side}", ours, theirs, 2.01 / 255 / 0.26 / float(theirs.abs().max()))  # two byte values
        check(f"pixels, {height}x{width} to {side}, on the whole", ours, theirs, 6e-3, distance)  # one beside in one of seven


# ---- ELITE

GUIDANCE, STEPS = 5, 100


class Given(torch.nn.Module):
    """In a token embedding's place: vectors, whatever the ids."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = vectors

    def forward(self, _):
        return self.vectors


def hidden_of(pipe, prompts, words=None):
    """The text encoder's output where S, the token `place`, is replaced by the words of its row: what follows moves right, what has no room goes."""
    ids = pipe.tokenizer(prompts, padding="max_length", truncation=True, max_length=pipe.tokenizer.model_max_length, return_tensors="pt").input_ids
    embeddings = getattr(pipe.text_encoder, "text_model", pipe.text_encoder).embeddings
    table, rows = embeddings.token_embedding, []
    for row, prompt in zip(table(ids), prompts):
        if words is not None:
            place = 1 + len(pipe.tokenizer(prompt[:prompt.index("S")], add_special_tokens=False).input_ids)
            row = torch.cat([row[:place], words[len(rows)], row[place + 1:]])[:len(row)]
        rows.append(row)
    embeddings.token_embedding = Given(torch.stack(rows))
    hidden = pipe.text_encoder(ids)[0]
    embeddings.token_embedding = table
    return hidden


def trajectory(pipe, text, negative, latents, guidance, steps, first=0):
    """LMS as ELITE makes it; the latents after each call."""
    scheduler = diffusers.LMSDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
    scheduler.set_timesteps(steps)
    after, latents = [], latents(scheduler, scheduler.timesteps[first:])
    for time in scheduler.timesteps[first:]:
        scaled = scheduler.scale_model_input(latents, time)
        noise = pipe.unet(scaled, time, text).sample
        without = pipe.unet(scaled, time, negative).sample
        latents = scheduler.step(without + guidance * (noise - without), time, latents).prev_sample
        after.append(latents)
    return after


def compare_elite(what, folder, image_encoder, mapper, pictures, prompts, word=0, negative="", guidance=GUIDANCE, steps=STEPS, strength=1):
    pipe, count = load(folder), len(pictures)
    mapper.put_into(pipe.unet)
    factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    start, encoding = torch.randn(2, count, 4, pictures.shape[2] // factor, pictures.shape[3] // factor)
    side = image_encoder.config.image_size
    with torch.no_grad():
        images = probe("clip-pixels", {"pictures": ((pictures + 1) * 127.5).round().to(torch.uint8), "size": torch.zeros(side)})["images"]
        words = mapper.words(image_encoder(images, output_hidden_states=True).hidden_states)
        hidden = hidden_of(pipe, prompts, words if word < 0 else words[:, word:word + 1])
        without = hidden_of(pipe, [negative] * count)
        after = trajectory(pipe, hidden, without, lambda scheduler, _: start * scheduler.init_noise_sigma, guidance, steps)
        first = after[0]
        if strength < 1:
            posterior = pipe.vae.encode(pictures).latent_dist
            latents = pipe.vae.config.scaling_factor * (posterior.mean + posterior.std * encoding)
            after = trajectory(pipe, hidden, without, lambda scheduler, times: scheduler.add_noise(latents, start, times[:1]), guidance, steps,
                               steps - int(steps * strength))
        theirs = pipe.vae.decode(after[-1] / pipe.vae.config.scaling_factor).sample
    save_file({name: tensor.clone() for name, tensor in mapper.state_dict().items()}, FOLDER / "mapper.safetensors")
    ours = probe("elite", {"pictures": pictures, "start": start, "encoding": encoding}, folder, image_encoder=str(FOLDER / "tower"),
                 mapper=str(FOLDER / "mapper.safetensors"), prompts=prompts, word=word, negative=negative, guidance=guidance, steps=steps, strength=strength)
    check(f"{what}: words", ours["words"], words, 1e-5, distance)
    check(f"{what}: text", ours["hidden"], hidden, 1e-5, distance)
    for name, module in cross_attentions(pipe.unet):
        for side, projection in (("key", module.to_k), ("value", module.to_v)):
            with torch.no_grad():
                check(f"{what}: {side}s of {name}", ours[f"{side}.{name}"].transpose(1, 2).flatten(2), projection(hidden), 1e-5, distance)
    check(f"{what}: one step", ours["first"], first, 1e-4, distance)
    check(f"{what}: trajectory", ours["images"], theirs, 1e-3, distance)
    return ours["images"]


def compare_elites():
    tower = {**TOWER, "num_hidden_layers": 17}
    image_encoder = randomised(CLIPVisionModel(CLIPVisionConfig(**tower)), by=0.3)
    image_encoder.save_pretrained(FOLDER / "tower")
    save_one("SD 1", FOLDER)
    folder = FOLDER / "SD 1"
    mapper = randomised(Mapper(load(folder).unet, tower["hidden_size"], hidden=20, words=24), by=0.3)
    pictures = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (40, 24), mode="bicubic").clamp(0, 1)
    pictures = (pictures * 255).round() / 127.5 - 1
    arguments = folder, image_encoder, mapper, pictures
    usual = compare_elite("ELITE", *arguments, ["A clipart image of S", "A clipart image of S"])
    compare_elite("ELITE, S in front, and further back", *arguments, ["S", "An artistic photo of a S, cut"])
    compare_elite("ELITE, another word and a negative text", *arguments, ["a S on white", "a S on white"], word=3, negative="blurred", steps=10)
    compare_elite("ELITE, all words", *arguments, ["S on white", "An image of a S"], word=-1, steps=20)
    compare_elite("ELITE, all words, up to the end", *arguments, ["An artistic photograph of a big S", "a photograph of a big S"], word=-1, steps=10)
    compare_elite("ELITE, all words, and text over the end", *arguments, ["a S on a very white background, yes", "S on a very white background, yes"], word=-1, steps=10)
    compare_elite("ELITE, from the image", *arguments, ["a photo of S", "a S"], steps=20, strength=0.6)
    other = compare_elite("ELITE, without guidance", *arguments, ["A clipart image of S", "A clipart image of S"], guidance=1, steps=10)
    assert distance(other, usual) > 0.01


torch.manual_seed(1)
torch.set_num_threads(1)
transformers.utils.logging.set_verbosity_error()
compare_towers()
compare_whole_models()
if not is_next():  # the rest are our equations, on parts that test_diffusion_* compare in both generations
    compare_pixels()
    compare_elites()
finish()
