"""Encoders against timm, losses and memory bank against plain PyTorch written from the paper's formulas."""
import timm
import torch
import torch.nn.functional as F

from probe import FOLDER, check, finish, probe, random_statistics, save


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=1)


def test_losses(batch, dim, rows, other_rows, temperature, top):
    features, counterparts, bank, other = unit(batch, dim), unit(batch, dim), unit(rows, dim), unit(other_rows, dim)
    ids = torch.randperm(rows)[:batch]
    ours = probe("retrieval_losses", {"features": features, "counterparts": counterparts, "bank": bank, "other_bank": other, "rows": ids},
                 temperature=temperature, top=top)
    features.requires_grad_()
    counterparts.requires_grad_()

    # -log softmax(f M^T / T)[own row], one sample after the other
    instance = torch.stack([torch.logsumexp(bank @ f / temperature, 0) - bank[i] @ f / temperature for f, i in zip(features, ids)]).mean()
    similarity = torch.sort(features @ other.T / temperature, dim=1, descending=True)[0][:, :top]
    p = torch.exp(similarity - torch.logsumexp(similarity, 1, keepdim=True))
    matching = (-(p * torch.log(p + 1e-5)).sum(1)).mean()
    similarity = counterparts @ features.T / temperature
    pairs = -torch.log_softmax(similarity, 1).diagonal().mean()

    name = f"B={batch} D={dim} N={rows}/{other_rows} T={temperature} top={top}: "
    check(name + "instance", ours["instance"], instance.detach(), 1e-6)
    check(name + "matching", ours["matching"], matching.detach(), 1e-6)
    check(name + "pairs", ours["pairs"], pairs.detach(), 1e-6)
    check(name + "d instance", ours["d_instance"], torch.autograd.grad(instance, features)[0], 1e-6)
    check(name + "d matching", ours["d_matching"], torch.autograd.grad(matching, features)[0], 1e-6)
    d_counterparts, d_features = torch.autograd.grad(pairs, (counterparts, features))
    check(name + "d pairs / d counterparts", ours["d_pairs_counterparts"], d_counterparts, 1e-6)
    check(name + "d pairs / d features", ours["d_pairs_features"], d_features, 1e-6)


def test_memory_bank():
    bank, features, ids = unit(50, 16), unit(7, 16), torch.randperm(50)[:7]
    for momentum in (0.0, 0.5, 0.9):
        ours = probe("memory_bank", {"bank": bank, "features": features, "rows": ids}, momentum=momentum)["bank"]
        theirs = bank.clone()
        for f, i in zip(features, ids):
            row = momentum * bank[i] + (1 - momentum) * f
            theirs[i] = row / row.norm()
        check(f"memory bank, momentum {momentum}", ours, theirs, 1e-12)


def test_encoder(name, size, gradients, as_backbone):
    """Weights of timm's model; as_backbone: its file as timm saves it, classifier included, so that only our head is drawn by us."""
    backbone = random_statistics(timm.create_model(name, pretrained=False))
    dim, batch = 24, 6
    head = torch.nn.Linear(backbone.num_features, dim)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    weights = torch.randn(batch, dim)
    state = backbone.state_dict()
    if as_backbone:
        file = save(state, FOLDER / "weights.safetensors")
    else:
        whole = {"backbone." + key: value for key, value in state.items() if not key.startswith("fc.")}
        file = save(whole | {"head.weight": head.weight.data, "head.bias": head.bias.data}, FOLDER / "weights.safetensors")
    ours = probe("encoder", {"images": images, "weights": weights}, file, name=name, dim=dim)

    mean = torch.tensor(timm.data.IMAGENET_DEFAULT_MEAN).view(1, 3, 1, 1)
    deviation = torch.tensor(timm.data.IMAGENET_DEFAULT_STD).view(1, 3, 1, 1)
    inputs = (images.float() / 255 - mean) / deviation
    check(f"{name}: normalised images", ours["images"], inputs, 1e-6)
    backbone.reset_classifier(0)
    if as_backbone:
        backbone.train()  # our head is unknown here: the backbone's running statistics after one pass show that every weight is in its place
        backbone(inputs)
        for key, value in backbone.state_dict().items():
            if key.endswith("running_mean") or key.endswith("running_var"):
                check(f"{name}: {key} of a backbone's own file", ours["buffer.backbone." + key], value, 1e-5)
        return
    backbone.eval()
    with torch.no_grad():
        check(f"{name}: features in evaluation", ours["features"], F.normalize(head(backbone(inputs)), dim=1), 1e-5)
    if not gradients:
        return
    backbone.train()
    (F.normalize(head(backbone(inputs)), dim=1) * weights).sum().backward()
    for key, parameter in backbone.named_parameters():
        check(f"{name}: gradient of {key}", ours["gradient.backbone." + key], parameter.grad, 5e-5)
    check(f"{name}: gradient of the head's weight", ours["gradient.head.weight"], head.weight.grad, 5e-5)
    check(f"{name}: gradient of the head's bias", ours["gradient.head.bias"], head.bias.grad, 5e-5)


torch.manual_seed(3)
torch.set_num_threads(1)
test_losses(batch=16, dim=32, rows=200, other_rows=150, temperature=0.1, top=40)
test_losses(batch=5, dim=512, rows=64, other_rows=30, temperature=0.1, top=700)  # fewer rows than `top`: all of them
test_losses(batch=9, dim=12, rows=9, other_rows=900, temperature=1.0, top=700)
test_memory_bank()
test_encoder("resnet18", 64, gradients=True, as_backbone=False)
test_encoder("resnet18", 63, gradients=False, as_backbone=True)
test_encoder("resnet50", 64, gradients=False, as_backbone=False)
finish()
