"""Vision transformers beside timm, open_clip, torchvision and both generations of transformers: real widths, one or two blocks, random weights, mostly of few
patches."""
import re
import subprocess
import unittest
import unittest.mock

import open_clip
import timm
import torch
import torchvision
from safetensors.torch import load_file
from timm.models import get_pretrained_cfg
from timm.models.vision_transformer import checkpoint_filter_fn

import originals_vit
from generations import next_generation, this_generation
from probe import BIN, FOLDER, largest, probe, save

BLOCKS = originals_vit.BLOCKS
# timm's name of weights that have a row's normalisation and size; a row's own, after its point, comes first.
WEIGHTS = {"clip_quickgelu": "openai", "clip": "datacompxl", "dinov2": "lvd142m", "dinov3": "lvd1689m", "siglip": "v2_webli", "": "augreg_in1k"}


def rows():
    keys = subprocess.run([BIN / "syncdr", "keys"], check=True, capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"\bvit_\w+(?:\.\w+)?", keys)))


class Vit(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(5)

    def ours(self, row, weights, images, **config):
        """weights: a file, or a state."""
        file = save(weights, FOLDER / "weights.safetensors") if isinstance(weights, dict) else weights
        return probe("vit", {"images": images}, file, **{"name": row, "size": images.shape[-1], "depth": BLOCKS, **config})

    def same(self, what, ours, theirs, tolerance=1e-4):
        error = largest(ours, theirs)
        print(f"{what}: relative error {error:.1e} (at most {tolerance:.0e})", flush=True)
        self.assertLessEqual(error, tolerance, what)

    def timm_model(self, row, **options):
        """The model, made as the row says, and timm's configuration of its weights."""
        architecture, _, tag = row.partition(".")
        options = {"depth": BLOCKS, **options}
        for suffix, option in {"_fc_norm": {"global_pool": "avg"}, "_tanh": {"act_layer": "gelu_tanh"}, "_unprojected": {}}.items():
            if architecture.endswith(suffix):
                architecture = architecture.removesuffix(suffix)
                options.update(option)
        tag = tag or next(tag for family, tag in WEIGHTS.items() if family in architecture)
        configuration = get_pretrained_cfg(f"{architecture}.{tag}")
        projected = "clip" in row and "unprojected" not in row
        model = timm.create_model(architecture, num_classes=configuration.num_classes if projected else 0, **options).eval()
        originals_vit.randomise(model)
        return model, configuration

    def small(self, row):
        """The side of images of 3 x 3 patches."""
        return 3 * int(re.search(r"patch(\d+)", row)[1])

    def timms_depth(self, row):
        with unittest.mock.patch("timm.models.vision_transformer._create_vision_transformer") as vit, unittest.mock.patch("timm.models.eva._create_eva") as eva:
            timm.create_model(re.sub("_fc_norm|_tanh|_unprojected", "", row.partition(".")[0]))
            return (vit.call_args or eva.call_args).kwargs["depth"]

    @torch.no_grad()
    def test_each_row_is_timms_model_of_its_name(self):
        self.assertGreater(len(rows()), 30)
        for row in rows():
            if row.startswith("vit_b_"):
                continue  # torchvision's
            with self.subTest(row):
                size = self.small(row)
                model, configuration = self.timm_model(row, depth=1, img_size=size)
                images = torch.randn(1, 3, size, size)
                ours = self.ours(row, model.state_dict(), images, depth=1)
                self.same(row, ours["features"], model(images))
                self.assertEqual(ours["trained_depth"].item(), self.timms_depth(row))
                self.assertEqual(ours["trained_size"].item(), configuration.input_size[1])
                self.assertEqual((tuple(ours["mean"].tolist()), tuple(ours["deviation"].tolist())), (configuration.mean, configuration.std))
                self.assertEqual({ours["epsilon"].item()}, {part.eps for part in model.modules() if isinstance(part, torch.nn.LayerNorm)})

    @torch.no_grad()
    def test_a_classifier_is_left_out(self):
        model = timm.create_model("vit_small_patch16_224", depth=BLOCKS).eval()
        images = torch.randn(1, 3, 224, 224)
        ours = self.ours("vit_small_patch16_224", {"module." + name: tensor for name, tensor in model.state_dict().items()}, images)
        self.same("behind a wrapper", ours["features"], model.forward_head(model.forward_features(images), pre_logits=True))

    @torch.no_grad()
    def test_position_embeddings_are_resampled_as_by_timm(self):
        for row, size in ("vit_small_patch14_dinov2", 224), ("vit_small_patch14_reg4_dinov2", 532), ("vit_base_patch32_224", 288), \
                ("vit_base_patch16_siglip_256", 192), ("vit_small_patch16_dinov3", 192):
            with self.subTest(row):
                model, _ = self.timm_model(row)
                other, _ = self.timm_model(row, img_size=size)
                state = model.state_dict()
                other.load_state_dict(checkpoint_filter_fn(state, other))
                images = torch.randn(1, 3, size, size)
                self.same(f"{row} at {size} pixels", self.ours(row, state, images)["features"], other(images))

    @torch.no_grad()
    def test_other_precisions(self):
        for row in "vit_small_patch16_224", "vit_base_patch32_clip_quickgelu_224", "vit_small_patch16_dinov3_qkvb", "vit_base_patch16_siglip_224":
            with self.subTest(row):
                model, _ = self.timm_model(row, img_size=self.small(row))
                images = torch.randn(1, 3, self.small(row), self.small(row))
                state = model.state_dict()
                with torch.autocast("cpu", torch.bfloat16):
                    low = model(images)
                self.same(f"{row} in bfloat16", self.ours(row, state, images, precision="autocast")["features"], low, 2e-2)
                exact = model.double()(images.double())
                # timm's rotary angles stay in single precision
                self.same(f"{row} in double", self.ours(row, state, images, precision="double")["features"], exact, 1e-6 if "dinov3" in row else 1e-12)

    @torch.no_grad()
    def test_open_clip(self):
        images = torch.randn(1, 3, 224, 224)
        for quick, row in (True, "vit_base_patch32_clip_quickgelu_224"), (False, "vit_base_patch32_clip_224"):
            model = open_clip.model.CLIP(512, {"image_size": 224, "layers": BLOCKS, "width": 768, "patch_size": 32},
                                         {"context_length": 7, "vocab_size": 20, "width": 32, "heads": 2, "layers": 1}, quick_gelu=quick).eval()
            originals_vit.randomise(model)
            state = model.state_dict()
            self.same(f"open_clip, quick: {quick}", self.ours(row, state, images)["features"], model.encode_image(images))
            alone = {name.removeprefix("visual."): tensor for name, tensor in state.items() if name.startswith("visual.")}
            self.same("the image side alone", self.ours(row, alone, images)["features"], model.encode_image(images))

    @torch.no_grad()
    def test_open_clip_around_timm(self):
        images = torch.randn(1, 3, 224, 224)
        model, _ = self.timm_model("vit_base_patch16_siglip_224")
        state = {"visual.trunk." + name: tensor for name, tensor in model.state_dict().items()}
        state |= {"text.transformer.x": torch.zeros(1), "logit_scale": torch.zeros(()), "logit_bias": torch.zeros(())}
        self.same("open_clip around timm", self.ours("vit_base_patch16_siglip_224", state, images)["features"], model(images))

    @torch.no_grad()
    def test_torchvision(self):
        for row, patch in ("vit_b_16", 16), ("vit_b_32", 32):
            model = torchvision.models.VisionTransformer(224, patch, BLOCKS, 12, 768, 3072).eval()
            originals_vit.randomise(model)
            images = torch.randn(1, 3, 224, 224)
            state = model.state_dict()
            model.heads = torch.nn.Identity()
            self.same(f"torchvision {row}", self.ours(row, state, images)["features"], model(images))

    def test_transformers(self):
        for generation in this_generation, next_generation:
            for name, (row, _) in originals_vit.MODELS.items():
                with self.subTest(name, generation=generation.__name__):
                    folder, file = FOLDER / generation.__name__ / name, FOLDER / "theirs.safetensors"
                    generation("originals_vit", "save", name=name, folder=folder, file=file)
                    theirs = load_file(file)
                    ours = self.ours(row, folder / "model.safetensors", theirs["images"])
                    self.same(f"transformers, {generation.__name__}: {name}", ours["features"], theirs["features"])


if __name__ == "__main__":
    torch.set_num_threads(2)
    unittest.main(verbosity=2)
