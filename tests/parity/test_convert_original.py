"""syncdr-data convert --as stable-diffusion beside diffusers' from_single_file: of small files in the authors' layout both make the same tensors, bit for bit,
and the same images (norm of the difference / norm of the original's, in float32)."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import originals_layout as layout
from originals_checkpoints import CROSS_DOWN, CROSS_UP, DOWN, STABLE, TOKENIZER, UP, blocks, diffusers, torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from probe import BIN, distance, probe
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOLERANCE, STEPS, STRENGTH, GUIDANCE, IMAGE_GUIDANCE, NOISE, SIZE = 2e-5, 10, 0.8, 5.0, 1.5, 7, (36, 44)
PROMPTS, NEGATIVES = ["a painting!of a cat!", "A clipart image of an object."], ["blurred", ""]
LENGTH, VOCABULARY, WIDTH, HIDDEN = 24, 514, 128, 256
UNET, FIRST, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
OPENAI = TEXT + "transformer.text_model."
SCHEDULE = {**STABLE, "set_alpha_to_one": False}

# The UNet of the authors' file, as diffusers' configuration says the same, and its scheduler
ONE = {"unet": {"width": 32, "factors": (1, 2, 4, 4), "attends": (True, True, True, False), "layers": 2},
       "config": {**blocks([32, 64, 128, 128], [CROSS_DOWN] * 3 + [DOWN], [UP] + [CROSS_UP] * 3), "layers_per_block": 2, "attention_head_dim": 8},
       "scheduler": ("PNDMScheduler", {**SCHEDULE, "skip_prk_steps": True})}
TWO = {"unet": {"width": 64, "factors": (1, 2), "attends": (True, False), "layers": 1, "linear": True},
       "config": {**blocks([64, 128], [CROSS_DOWN, DOWN], [UP, CROSS_UP]), "layers_per_block": 1, "attention_head_dim": [1, 2], "use_linear_projection": True},
       "scheduler": ("DDIMScheduler", {**SCHEDULE, "clip_sample": False, "prediction_type": "v_prediction"}), "open_clip": True}
DEEP = {"unet": {"width": 32, "factors": (1, 1), "attends": (False, True), "layers": 1, "depth": 2},
        "config": {**blocks([32, 32], [DOWN, CROSS_DOWN], [CROSS_UP, UP]), "layers_per_block": 1, "attention_head_dim": 8, "transformer_layers_per_block": 2},
        "scheduler": ONE["scheduler"]}
INSTRUCT = {"unet": {**ONE["unet"], "channels_in": 8}, "config": {**ONE["config"], "in_channels": 8},
            "scheduler": ("EulerAncestralDiscreteScheduler", STABLE)}


def original(model, linear=False):
    """The state dict of such a file."""
    text = (WIDTH, HIDDEN, 24 if model.get("open_clip") else 3, VOCABULARY, LENGTH)
    encoder = layout.open_clip_text(*text).under(TEXT + "model.") if model.get("open_clip") else layout.openai_text(*text).under(OPENAI)
    unet, autoencoder = layout.unet(**model["unet"], text=WIDTH), layout.autoencoder(32, (1, 2, 2), 1, linear=linear)
    return layout.filled({**unet.under(UNET), **autoencoder.under(FIRST), **encoder})


def text_config(open_clip):
    return CLIPTextConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=23 if open_clip else 3, num_attention_heads=2,
                          max_position_embeddings=LENGTH, hidden_act="gelu" if open_clip else "quick_gelu", bos_token_id=512, eos_token_id=513)


def write_configs(folder, model):
    """What from_single_file wants beside the file: a folder of diffusers', with other weights."""
    name, scheduler = model["scheduler"]
    open_clip = model.get("open_clip", False)
    levels = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline if model is INSTRUCT else diffusers.StableDiffusionPipeline
    pipeline(unet=diffusers.UNet2DConditionModel(**model["config"], cross_attention_dim=WIDTH, sample_size=64),
             vae=diffusers.AutoencoderKL(block_out_channels=[32, 64, 64], layers_per_block=1, **levels), text_encoder=CLIPTextModel(text_config(open_clip)),
             tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER, model_max_length=LENGTH, **({"pad_token": "!"} if open_clip else {})),
             scheduler=getattr(diffusers, name)(**scheduler), safety_checker=None, feature_extractor=None, requires_safety_checker=False).save_pretrained(folder)


def weights_of(folder, component):
    return load_file(folder / component / f"{'model' if component == 'text_encoder' else 'diffusion_pytorch_model'}.safetensors")


class Original(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="syncdr-original-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out"
        torch.manual_seed(0)

    def write(self, tensors, name="model.ckpt", **beside):
        file = self.folder / name
        if name.endswith(".safetensors"):
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
        else:
            torch.save({"state_dict": tensors, **beside}, file)
        return file

    def run_convert(self, file, *arguments, out=None, tokenizer=TOKENIZER):
        command = [BIN / "syncdr-data", "convert", file, "-o", out or self.out, "--as", "stable-diffusion", "--tokenizer", tokenizer, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)

    def convert(self, file, *arguments, out=None):
        process = self.run_convert(file, *arguments, out=out)
        self.assertEqual(process.returncode, 0, process.stderr)
        return process.stderr + process.stdout

    def refused(self, file, *texts, arguments=(), code=65, **options):
        process = self.run_convert(file, *arguments, **options)
        said = process.stderr + process.stdout
        self.assertEqual(process.returncode, code, said)
        for text in texts:
            self.assertIn(text, said)
        self.assertFalse(self.out.exists(), "something was written")

    # ---- tensors

    def theirs(self, file, model, cls=None):
        configs = self.folder / "configs"
        if not configs.exists():
            write_configs(configs, model)
        cls = cls or (diffusers.StableDiffusionInstructPix2PixPipeline if model is INSTRUCT else diffusers.StableDiffusionImg2ImgPipeline)
        pipe = cls.from_single_file(str(file), config=str(configs), local_files_only=True, safety_checker=None)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def same(self, ours, theirs, dtype=torch.float32):
        theirs = {name.removeprefix("text_model."): tensor for name, tensor in theirs.items() if not name.endswith("position_ids")}
        ours = {name.removeprefix("text_model."): tensor for name, tensor in ours.items()}
        self.assertEqual(set(ours), set(theirs))
        for name, tensor in theirs.items():
            self.assertEqual((ours[name].dtype, ours[name].shape), (dtype, tensor.shape), name)
            self.assertTrue(torch.equal(ours[name].float(), tensor.detach().float()), name)

    def same_as(self, pipe, out=None, **dtypes):
        for component in ("unet", "vae", "text_encoder"):
            self.same(weights_of(out or self.out, component), getattr(pipe, component).state_dict(), **dtypes)

    # ---- images

    def images_of_theirs(self, pipe, images):
        scales = {"image_guidance_scale": IMAGE_GUIDANCE} if pipe.unet.config.in_channels == 8 else {"strength": STRENGTH}
        with torch.no_grad():
            latents = pipe(PROMPTS, images / 2 + 0.5, negative_prompt=NEGATIVES, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
                           generator=torch.Generator().manual_seed(NOISE), output_type="latent", **scales).images
            return pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample

    def images_of_ours(self, images, instruct):
        noise = torch.Generator().manual_seed(NOISE)
        latents = (2, 4, SIZE[0] // 4, SIZE[1] // 4)
        given = {"images": images, **{draw: torch.randn(latents, generator=noise) for draw in (["start"] if instruct else ["encoding", "start"])},
                 "step": torch.stack([torch.randn(latents, generator=noise) for _ in range(STEPS)])}
        scales = {"image_guidances": [IMAGE_GUIDANCE]} if instruct else {"strengths": [STRENGTH]}
        return probe("instruct" if instruct else "img2img", given, self.out, prompts=PROMPTS, negatives=NEGATIVES, steps=[STEPS], guidances=[GUIDANCE],
                     **scales)["images.0"]

    def same_images(self, what, pipe, model):
        """Of diffusers from the authors' file, of ours from the folder made of it, and of diffusers from that folder."""
        images = 2 * torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), SIZE, mode="bilinear") - 1
        theirs, ours = self.images_of_theirs(pipe, images), self.images_of_ours(images, model is INSTRUCT)
        again = type(pipe).from_pretrained(self.out)
        again.set_progress_bar_config(disable=True)
        for reader, found in (("ours", ours), ("diffusers from our folder", self.images_of_theirs(again, images))):
            error = distance(found, theirs)
            print(f"{'ok  ' if error <= TOLERANCE else 'FAIL'} {what}, {reader}: {error:.1e} (at most {TOLERANCE:.0e})", flush=True)
            self.assertLessEqual(error, TOLERANCE)

    # ---- what is read

    def test_stable_diffusion_1(self):
        file = self.write(original(ONE), global_step=470000, **{"pytorch-lightning_version": "1.4.2"})
        said = self.convert(file)
        self.assertIn("Stable Diffusion 1; its UNet is that of \"model.diffusion_model.\", taken to predict epsilon; if it does not, add --prediction v_prediction", said)
        pipe = self.theirs(file, ONE)
        self.same_as(pipe)
        self.same_images("1", pipe, ONE)

    def test_stable_diffusion_2_computes_all_but_the_last_layer_of_openclip(self):
        file = self.write(original(TWO), "model.safetensors")
        self.refused(file, "no tensor tells what its UNet predicts", "--prediction v_prediction", "--prediction epsilon", code=2)
        said = self.convert(file, "--prediction", "v_prediction")
        self.assertIn("passed over: cond_stage_model.model.logit_scale, cond_stage_model.model.text_projection, "
                      "cond_stage_model.model.transformer.resblocks.23.* (12 tensors)", said)
        pipe = self.theirs(file, TWO)
        self.same_as(pipe)
        self.same_images("2", pipe, TWO)
        cut = {name: tensor for name, tensor in load_file(file).items() if ".resblocks.23." not in name}
        self.convert(self.write(cut, "cut.safetensors"), "--prediction", "v_prediction", out=self.folder / "cut")
        self.same_as(pipe, self.folder / "cut")
        self.out = self.folder / "none"
        few = {name: tensor for name, tensor in cut.items() if ".resblocks.22." not in name}
        self.refused(self.write(few, "few.safetensors"), "text model has 22 layers; that of Stable Diffusion 2 has 24, of which it computes 23")

    def test_instruct_pix2pix(self):
        file = self.write(original(INSTRUCT))
        self.assertIn("InstructPix2Pix", self.convert(file))
        pipe = self.theirs(file, INSTRUCT)
        self.same_as(pipe)
        self.same_images("InstructPix2Pix", pipe, INSTRUCT)

    def test_other_depths_and_levels(self):
        file = self.write(original(DEEP, linear=True), "model.safetensors")  # the autoencoder's attention as linear layers, as some tools write it
        self.convert(file)
        self.same_as(self.theirs(file, DEEP))

    def test_the_moving_average_is_taken_unless_it_is_not_wanted_and_that_is_said(self):
        tensors = original(ONE)
        both = {**tensors, **layout.averaged(tensors), **layout.schedule()}
        file = self.write(both)
        self.assertIn("its UNet is the moving average of training (model_ema.)", said := self.convert(file))
        self.assertIn(f"passed over: alphas_cumprod, betas, logvar, model.diffusion_model.* ({sum(n.startswith(UNET) for n in tensors)} tensors)", said)
        pipe = self.theirs(file, ONE)
        self.same(weights_of(self.out, "unet"), convert_ldm_unet_checkpoint(dict(both), dict(pipe.unet.config), extract_ema=True))
        self.assertEqual(json.loads((self.out / "conversion.json").read_text())["unet"], "moving average")
        last = self.folder / "last"
        self.assertIn("its UNet is that of \"model.diffusion_model.\"", self.convert(file, "--no-ema", out=last))
        self.same_as(pipe, last)
        self.assertFalse(torch.equal(weights_of(last, "unet")["conv_in.weight"], weights_of(self.out, "unet")["conv_in.weight"]))

        alone = self.write({name: tensor for name, tensor in both.items() if not name.startswith(UNET)}, "alone.ckpt")
        self.convert(alone, out=self.folder / "alone")
        self.same(weights_of(self.folder / "alone", "unet"), weights_of(self.out, "unet"))
        self.out = self.folder / "none"
        self.refused(alone, "--no-ema: ", "holds the average alone", arguments=["--no-ema"], code=2)
        del both["model_ema.diffusion_modelmiddle_block1normweight"]
        self.refused(self.write(both), "lacks \"model_ema.diffusion_modelmiddle_block1normweight\"")

    def test_half_precision_stays_and_gives_the_images_of_its_values(self):
        tensors = {name: tensor.half() for name, tensor in original(ONE).items()}
        file = self.write(tensors, "model.safetensors")
        self.convert(file)
        self.same_as(self.theirs(file, ONE), dtype=torch.float16)

    def test_text_encoders_without_their_prefix_and_with_counters(self):
        tensors = original(ONE)
        file = self.write(tensors)
        old = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in tensors.items()}
        counters = {"cond_stage_model.transformer.embeddings.position_ids": torch.arange(LENGTH)[None], "first_stage_model.loss.logvar": torch.zeros(())}
        said = self.convert(self.write({**old, **counters}, "old.ckpt"))
        self.assertIn("passed over: cond_stage_model.transformer.embeddings.position_ids, first_stage_model.loss.* (1 tensors)", said)
        self.same_as(self.theirs(file, ONE))

    def test_the_manifest_says_what_came_in_and_went_out(self):
        file = self.write({**original(ONE), "lora_x.alpha": torch.ones(1)})
        self.refused(file, "holds tensors beside Stable Diffusion's: lora_x.alpha. --allow-beside leaves them out")
        self.assertIn("left out: lora_x.alpha", self.convert(file, "--allow-beside", "--prediction", "v_prediction"))
        manifest = json.loads((self.out / "conversion.json").read_text())
        self.assertEqual((manifest["prediction"], manifest["unet"], manifest["left_out"]), ("v_prediction", "last step", ["lora_x.alpha"]))
        self.assertEqual((list(manifest["in"]), set(manifest["tokenizer"])), (["model.ckpt"], {"vocab.json", "merges.txt"}))
        files = {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}
        self.assertEqual(set(manifest["out"]), files - {"conversion.json", "model_index.json"})
        self.assertEqual(manifest["out"]["tokenizer/vocab.json"], manifest["tokenizer"]["vocab.json"])
        for digest in [*manifest["in"].values(), *manifest["out"].values()]:
            self.assertRegex(digest, "^xxh128:[0-9a-f]{32}$")
        again = self.folder / "again"
        self.convert(file, "--allow-beside", "--prediction", "v_prediction", out=again)
        self.assertEqual((again / "conversion.json").read_bytes(), (self.out / "conversion.json").read_bytes())
        self.assertEqual(json.loads((self.out / "scheduler" / "scheduler_config.json").read_text())["_class_name"], "DDIMScheduler")

    # ---- what is refused

    def changed(self, change, *texts, model=ONE):
        tensors = original(model)
        change(tensors)
        self.refused(self.write(tensors, "model.safetensors"), *texts)

    def test_shapes_that_do_not_fit_are_refused_by_name(self):
        def shaped(name, *shape, dtype=torch.float32):
            return lambda tensors: tensors.update({name: torch.zeros(shape, dtype=dtype)})

        self.changed(shaped(UNET + "middle_block.0.in_layers.2.weight", 128, 32, 3, 3),
                     "\"model.diffusion_model.middle_block.0.in_layers.2.weight\" has shape [128, 32, 3, 3]", "want [128, 128, 3, 3]")
        self.changed(shaped(FIRST + "encoder.mid.attn_1.q.weight", 64, 64, 3, 3),
                     "\"first_stage_model.encoder.mid.attn_1.q.weight\" has shape [64, 64, 3, 3]", "want [64, 64]")
        self.changed(shaped(UNET + "input_blocks.1.0.in_layers.0.weight", 32, dtype=torch.int8), "holds Char, no floating point numbers")
        self.changed(shaped(OPENAI + "encoder.layers.0.mlp.fc1.weight", 1 << 40, 0), "its text model has 1099511627776 rows")
        self.changed(shaped(OPENAI + "embeddings.token_embedding.weight", 0, 64), "its text model has 0 rows")
        self.changed(shaped(OPENAI + "embeddings.token_embedding.weight", VOCABULARY, 100), "100 channels are no multiple of 64")
        self.changed(shaped(OPENAI + "embeddings.token_embedding.weight"), "has shape []")
        self.changed(shaped(UNET + "input_blocks.1.0.in_layers.2.weight", 1 << 40, 0, 3, 3), "\"block_out_channels\" holds 1099511627776")
        self.changed(shaped(UNET + "input_blocks.1.0.in_layers.2.weight", 8192, 0, 3, 3), "has shape", "want")
        self.changed(shaped(UNET + "input_blocks.1.0.in_layers.2.weight", 24, 32, 3, 3), "\"norm_num_groups\" is 32, which does not divide the 24 channels")
        self.changed(shaped(FIRST + "encoder.down.1.block.0.conv1.weight", 1 << 40, 0, 3, 3), "\"block_out_channels\" is 1099511627776")
        self.changed(shaped(TEXT + "model.transformer.resblocks.3.attn.in_proj_weight", 2 * WIDTH, WIDTH), "has shape [256, 128]", "want [128, 128] of it", model=TWO)
        self.changed(shaped(TEXT + "model.transformer.resblocks.3.attn.in_proj_weight"), "has shape []", model=TWO)

    def test_parts_and_tensors_that_lack_are_refused_by_name(self):
        def without(prefix):
            return lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(prefix)]

        self.changed(without(UNET), "lacks \"model.diffusion_model.input_blocks.0.0.weight\"", "Stable Diffusion 1, 2 and InstructPix2Pix are read")
        self.changed(without(FIRST), "lacks \"first_stage_model.encoder.conv_in.weight\"")
        self.changed(without(TEXT), "lacks \"cond_stage_model.transformer.embeddings.token_embedding.weight\"")
        self.changed(without(UNET + "output_blocks.4.1.transformer_blocks.0.attn2.to_v"),
                     "lacks \"model.diffusion_model.output_blocks.4.1.transformer_blocks.0.attn2.to_v.weight\"")
        self.changed(without(FIRST + "post_quant_conv.bias"), "lacks \"first_stage_model.post_quant_conv.bias\"")

    def test_other_models_are_named(self):
        def added(name, *shape):
            return lambda tensors: tensors.update({name: torch.zeros(shape)})

        self.changed(added(UNET + "label_emb.0.0.weight", 4, 4), "no Stable Diffusion 1 or 2 has model.diffusion_model.* (1 tensors)")
        self.changed(added(FIRST + "encoder.mid.extra.weight", 4), "no Stable Diffusion 1 or 2 has first_stage_model.encoder.mid.extra.weight")
        self.changed(added("conditioner.embedders.0.transformer.x", 4), "is Stable Diffusion XL or a relative")
        self.changed(added(UNET + "input_blocks.0.0.weight", 32, 9, 3, 3), "has 9 input channels for latents of 4, as for inpainting")
        self.changed(added(UNET + "out.2.weight", 8, 32, 3, 3), "has 8 output channels for latents of 4")
        self.changed(lambda tensors: tensors.update(layout.schedule(end=0.02)), "is not Stable Diffusion's schedule of noise")

    def test_wrong_usage_and_tokenizers_of_other_models(self):
        file = self.write(original(ONE))
        self.refused(file, "has no vocab.json", tokenizer=self.folder, code=2)
        process = subprocess.run([BIN / "syncdr-data", "convert", file, "-o", self.out, "--as", "stable-diffusion"], capture_output=True, text=True)
        self.assertEqual((process.returncode, "needs --tokenizer FOLDER" in process.stderr), (2, True), process.stderr)
        large = self.folder / "large"
        large.mkdir()
        vocabulary = json.loads((TOKENIZER / "vocab.json").read_text())
        (large / "vocab.json").write_text(json.dumps({**vocabulary, "ab</w>": len(vocabulary)}))
        (large / "merges.txt").write_text("#version: 0.2\na b</w>\n")
        self.refused(file, "has 515 tokens, the text model 514", tokenizer=large)
        full = self.folder / "full"
        full.mkdir()
        (full / "x").touch()
        self.refused(file, "is there and no empty folder", out=full, code=2)
        self.assertEqual(os.listdir(full), ["x"])


if __name__ == "__main__":
    unittest.main()
