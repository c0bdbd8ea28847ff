"""LoRA files in the namings of peft, diffusers (now and before) and kohya (with both numberings of blocks), written by peft and diffusers where they write them,
against the original that reads them: the whole image-to-image pipeline to 1e-4 (norm of the difference / norm of the original's image), on linear
layers, convolutions and the text encoder of checkpoints with random weights."""
import subprocess

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

import originals_checkpoints as originals
from probe import BIN, FOLDER, distance, finish, judge, probe

NEXT = int(transformers.__version__.split(".")[0]) >= 5
TOLERANCE, SHOWS = 1e-4, 1e-2
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def layers_of(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))}


def pairs_of(model, wanted=lambda name: True):
    """{layer: (down, up)}: rank 4 for linear layers, 3 for 3x3 convolutions."""
    pairs = {}
    for name, module in layers_of(model).items():
        if not wanted(name):
            continue
        out, size, *sides = module.weight.shape
        rank = 3 if sides and sides[0] > 1 else 4
        pairs[name] = 0.15 * torch.randn(rank, size, *sides), 0.15 * torch.randn(out, rank, *(1 for _ in sides))
    return pairs


def with_text_model(name):
    """The name of a text encoder's layer as transformers 4 has it."""
    return "text_model." + name.removeprefix("text_model.")


class Case:
    """A checkpoint, its pipeline as diffusers loads it, and the input of all runs."""

    def __init__(self, folder):
        self.folder = folder
        pipe = originals.load(folder)
        factor, (height, width) = 2 ** (len(pipe.vae.config.block_out_channels) - 1), originals.CHECKPOINTS[folder.name]["size"]
        latents = (2, pipe.vae.config.latent_channels, height // factor, width // factor)
        noise = torch.Generator().manual_seed(originals.NOISE)
        smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (height, width), mode="bilinear")
        self.given = {"images": 2 * smooth - 1, "encoding": torch.randn(latents, generator=noise), "start": torch.randn(latents, generator=noise),
                      "step": torch.zeros(1, *latents)}
        self.plain = self.original(pipe)
        self.unet, self.text = pairs_of(pipe.unet), pairs_of(pipe.text_encoder)
        self.layers = pipe.unet.config.layers_per_block

    def pipe(self):
        return originals.load(self.folder)

    def original(self, pipe):
        with torch.no_grad():
            latents = pipe(originals.PROMPTS, self.given["images"] / 2 + 0.5, negative_prompt=originals.NEGATIVES, num_inference_steps=originals.STEPS,
                           guidance_scale=originals.GUIDANCE, strength=originals.STRENGTH, generator=torch.Generator().manual_seed(originals.NOISE),
                           output_type="latent").images
            return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample

    def ours(self, files, scales):
        return probe("img2img", self.given, self.folder, prompts=originals.PROMPTS, negatives=originals.NEGATIVES, steps=[originals.STEPS],
                     guidances=[originals.GUIDANCE], strengths=[originals.STRENGTH], loras=[str(file) for file in files], lora_scales=scales)["images.0"]

    def loaded(self, files, scales, **options):
        """The pipeline with the files as load_lora_weights reads them."""
        pipe = self.pipe()
        for k, file in enumerate(files):
            pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name=f"file{k}", **options)
        pipe.set_adapters([f"file{k}" for k in range(len(files))], scales)
        return pipe

    def merged(self, sums):
        """The pipeline with additions by hand: (the network's name, {layer: what is added})."""
        pipe = self.pipe()
        for network, added in sums:
            layers = layers_of(getattr(pipe, network))
            for name, value in added.items():
                weight = layers[name].weight
                weight.data += value.reshape(weight.shape)
        return pipe

    def check(self, what, files, scales, pipe):
        ours, theirs = self.ours(files, scales), self.original(pipe)
        judge(f"{self.folder.name}: {what}", distance(ours, theirs), TOLERANCE)
        if distance(theirs, self.plain) < SHOWS:
            judge(f"{self.folder.name}: {what} changes the image", 1, 0)
        return ours, theirs


def sums_of(pairs, factor=lambda name, rank: 1.0):
    return {name: factor(name, down.shape[0]) * up.flatten(1) @ down.flatten(1) for name, (down, up) in pairs.items()}


def save(name, tensors, metadata=None):
    file = FOLDER / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata)
    return file


def check_peft(case):
    """What peft's own models save, a folder for each network; alphas are in adapter_config.json."""
    pipe, files = case.pipe(), []
    for network, patterns in (("unet", {"rank_pattern": {"conv1": 2}, "alpha_pattern": {"attn1.to_q": 9, "^conv_in": 1}, "use_rslora": True}),
                              ("text_encoder", {"rank_pattern": {}, "alpha_pattern": {"fc1": 2}})):
        model = getattr(pipe, network)
        config = LoraConfig(r=4, lora_alpha=6, target_modules=list(layers_of(model)), init_lora_weights=False, **patterns)
        folder = FOLDER / f"peft-{network}"
        adapted = get_peft_model(model, config)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(0, 0.1)
        adapted.save_pretrained(folder)
        files.append(folder / "adapter_model.safetensors")
    pipe = case.pipe()
    for file in files:
        network = file.parent.name.removeprefix("peft-")
        model = PeftModel.from_pretrained(getattr(pipe, network), file.parent)
        setattr(pipe, network, model.merge_and_unload())
    case.check("peft's folders", files, [1.0, 1.0], pipe)


def adapted_layers(model, alpha, **more):
    """Its state as diffusers' training scripts save it, and what they pass as metadata."""
    model.add_adapter(LoraConfig(r=4, lora_alpha=alpha, target_modules=list(layers_of(model)), init_lora_weights=False, **more))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.1)
    config = model.peft_config["default"].to_dict()
    return get_peft_model_state_dict(model), {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}


def check_diffusers(case):
    pipe = case.pipe()
    unet, unet_config = adapted_layers(pipe.unet, 6, rank_pattern={"conv2": 2}, alpha_pattern={"attn2.to_k": 1})
    text, text_config = adapted_layers(pipe.text_encoder, 3)
    for name, metadata in (("with-metadata", {"unet_lora_adapter_metadata": unet_config, "text_encoder_lora_adapter_metadata": text_config}), ("without", {})):
        type(pipe).save_lora_weights(FOLDER / name, unet_lora_layers=unet, text_encoder_lora_layers=text, **metadata)
        file = FOLDER / name / "pytorch_lora_weights.safetensors"
        assert ("lora_adapter_metadata" in open(file, "rb").read(200000).decode("latin-1")) == bool(metadata)
        if not metadata:  # those with several ranks, but no alphas, are read in another way by 0.35.2
            case.check(f"diffusers, {name}", [file], [0.7], case.merged(
                [(network, {key.removesuffix(".lora_A.weight"): 0.7 * layers[key.replace("lora_A", "lora_B")].flatten(1) @ down.flatten(1)
                            for key, down in layers.items() if "lora_A" in key}) for network, layers in (("unet", unet), ("text_encoder", text))]))
        if metadata or NEXT:
            case.check(f"diffusers, {name}, loaded there", [file], [0.7], case.loaded([file], [0.7]))


def check_older_diffusers(case):
    """Attention processors, and linear layers of the text encoder, from before diffusers used peft, as the pickles that were usual then."""
    tensors = {}
    for name, (down, up) in case.unet.items():
        attention = "attn1" if ".attn1." in name else "attn2"
        block, _, projection = name.partition(f".{attention}.")
        if projection in ATTENTION:
            old = f"unet.{block}.{attention}.processor.{projection.removesuffix('.0')}_lora"
        elif "transformer_blocks" in name:
            old = f"unet.{name}.lora"
        else:
            continue
        tensors.update({f"{old}.down.weight": down, f"{old}.up.weight": up})
    for name, (down, up) in case.text.items():
        tensors.update({f"text_encoder.{with_text_model(name)}.lora_linear_layer.{part}.weight": value for part, value in (("down", down), ("up", up))})
    pickle, file = FOLDER / "pytorch_lora_weights.bin", FOLDER / "older.safetensors"
    torch.save(tensors, pickle)
    file.unlink(missing_ok=True)
    subprocess.run([BIN / "syncdr-data", "convert", pickle, "-o", file], check=True, capture_output=True)
    case.check("diffusers before peft, converted", [file], [0.8], case.loaded([pickle], [0.8]))


def original_numbers(case, name):
    """kohya's name of a layer by the numbers of blocks that Stable Diffusion's authors gave."""
    kind, _, rest = name.partition("_blocks.") if "_blocks." in name.split(".attentions")[0] else ("", "", "")
    parts = {"resnets": 0, "attentions": 1, "upsamplers": 2}
    inner = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
    if name.startswith("mid_block."):
        _, what, number, rest = name.split(".", 3)
        return f"middle_block.1.{rest}" if what == "attentions" else f"middle_block.{2 * int(number)}.{inner[rest]}"
    if not kind:
        return None
    block, what, number, rest = rest.split(".", 3)
    per = case.layers + 1
    if kind == "down":
        if what == "downsamplers":
            return f"input_blocks.{per * (int(block) + 1)}.0.op"
        return f"input_blocks.{1 + per * int(block) + int(number)}.{parts[what]}.{inner.get(rest, rest)}"
    if what == "upsamplers":
        attends = any(layer.startswith(f"up_blocks.{block}.attentions") for layer in case.unet)
        return f"output_blocks.{per * int(block) + case.layers}.{2 if attends else 1}.conv"
    return f"output_blocks.{per * int(block) + int(number)}.{parts[what]}.{inner.get(rest, rest)}"


def kohya(case, unet, alpha_of, original=False):
    """A file's tensors. alpha_of(layer, rank): None for a layer that says none."""
    tensors = {}
    named = {f"lora_unet_{(original_numbers(case, name) if original else name).replace('.', '_')}": (name, pair) for name, pair in unet.items()}
    named.update({f"lora_te_{with_text_model(name).replace('.', '_')}": (name, pair) for name, pair in case.text.items()})
    for key, (name, (down, up)) in named.items():
        tensors.update({f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up})
        if alpha_of(name, down.shape[0]) is not None:
            tensors[f"{key}.alpha"] = torch.tensor(float(alpha_of(name, down.shape[0])))
    return tensors


def check_kohya(case):
    known = {name: pair for name, pair in case.unet.items() if NEXT or not name.startswith(("conv_in", "conv_out", "time_embedding"))}
    for what, alpha_of in (("alpha 2", lambda name, rank: 2), ("no alpha", lambda name, rank: None)):
        file = save("kohya", kohya(case, known, alpha_of))
        if what == "alpha 2" or NEXT:  # without alphas 0.35.2 takes one for all ranks
            case.check(f"kohya, {what}", [file], [0.9], case.loaded([file], [0.9]))
    in_blocks = {name: pair for name, pair in known.items() if original_numbers(case, name)}
    # Upsamplers where there is no attention have the number 1 in the original, which diffusers takes for attention.
    in_blocks = {name: pair for name, pair in in_blocks.items() if "upsamplers" not in name or ".2.conv" in original_numbers(case, name)}
    file = save("sgm", kohya(case, in_blocks, lambda name, rank: 3, original=True))
    case.check("kohya, the original's numbers", [file], [0.9], case.loaded([file], [0.9], unet_config=case.pipe().unet.config))


def check_alphas_that_differ(case):
    """Each layer has its own alpha, by hand; diffusers gives attention layers the file's most frequent one, as the log says."""
    def alpha_of(name, rank):
        return None if name.endswith("ff.net.2") else 1 + len(name) % 4 / 2

    known = {name: pair for name, pair in case.unet.items() if "transformer_blocks" in name}
    tensors = kohya(case, known, alpha_of)
    file = save("differ", tensors)

    def factor(name, rank):
        alpha = alpha_of(name, rank)
        return 1.0 if alpha is None else alpha / rank

    ours, _ = case.check("kohya, alphas that differ, by hand", [file], [1.0], case.merged([("unet", sums_of(known, factor)), ("text_encoder", sums_of(case.text, factor))]))
    theirs = case.original(case.loaded([file], [1.0]))
    error = distance(ours, theirs)
    print(f"     {case.folder.name}: kohya, alphas that differ, diffusers: {error:.1e}")
    if error < 10 * TOLERANCE:
        judge(f"{case.folder.name}: diffusers reads alphas that differ as we do: lora.h, its log line and README say otherwise", 1, 0)


def check_several(case):
    """Files with different scales, one after the other."""
    first = save("first", {f"unet.{name}.lora_{part}.weight": value for name, pair in case.unet.items() for part, value in zip("AB", pair)
                           if "attn" in name})
    other = pairs_of(case.pipe().unet, lambda name: "attn1" in name or "ff" in name)
    second = save("second", {f"unet.{name}.lora_{part}.weight": value for name, pair in other.items() for part, value in zip("AB", pair)})
    case.check("two files", [first, second], [0.6, -0.5], case.loaded([first, second], [0.6, -0.5]))


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    originals.save(FOLDER / "models")
    for name in ("SD 1", "SD 2"):
        case = Case(FOLDER / "models" / name)
        for check in (check_peft, check_diffusers, check_older_diffusers, check_kohya, check_alphas_that_differ, check_several):
            check(case)
    finish()


main()
