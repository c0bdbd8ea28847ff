"""CUT's networks and losses against plain PyTorch written from the papers: convolutions with the binomial filters where ours take shortcuts.

In float64 everything, gradients too, must agree to 1e-10; in float32, where kernels add in other orders, the outputs to 1e-5.
"""
import torch
import torch.nn.functional as F
from torch import nn

from originals_cut import Blur, Generator
from probe import check, finish, judge, probe


class Discriminator(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        layers = [nn.Conv2d(3, width, 4, padding=1), nn.LeakyReLU(0.2), Blur(width)]
        for i in range(1, depth + 1):
            before, after = width * min(2 ** (i - 1), 8), width * min(2 ** i, 8)
            layers += [nn.Conv2d(before, after, 4, padding=1), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
            if i < depth:
                layers.append(Blur(after))
        self.model = nn.Sequential(*layers, nn.Conv2d(after, 1, 4, padding=1))

    def forward(self, x):
        return [self.model(x)]


def compare_network(name, network, run, config, images):
    """Outputs and the gradients of a random weighted sum of them."""
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        network = network.to(dtype)
        network.zero_grad()
        x = images.detach().clone().to(dtype).requires_grad_()
        outputs = run(network, x)
        cotangents = [torch.randn_like(output) for output in outputs]
        given = {"images": x, **{f"weights.{key}": value for key, value in network.state_dict().items()},
                 **{f"cotangent.{i}": cotangent for i, cotangent in enumerate(cotangents)}}
        ours = probe(name, given, **config)
        for i, output in enumerate(outputs):
            check(f"{name} {dtype} output {i} {list(output.shape)}", ours[f"output.{i}"], output.detach(), tolerance)
        if name == "cut_discriminator":
            check(f"{name} {dtype} loss, real", ours["real"], ((outputs[0] - 1) ** 2).mean().detach(), tolerance)
            check(f"{name} {dtype} loss, fake", ours["fake"], (outputs[0] ** 2).mean().detach(), tolerance)
        if dtype == torch.float32:
            continue
        sum((output * cotangent).sum() for output, cotangent in zip(outputs, cotangents)).backward()
        check(f"{name} gradient of images", ours["grad.images"], x.grad, tolerance)
        for key, parameter in network.named_parameters():
            # A bias in front of an instance norm has no effect and only rounding for a gradient: measured by its convolution's.
            scale = dict(network.named_parameters())[key.replace("bias", "weight")].grad.abs().max()
            judge(f"{name} gradient of {key}", float((ours[f"grad.{key}"] - parameter.grad).abs().max() / scale), tolerance)


def compare_nce():
    batch, dim, temperature = 3, 16, 0.07
    shapes, patches = [(5, 8, 8), (7, 4, 4)], [20, 16]
    heads = [nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Linear(dim, dim)).double() for channels, _, _ in shapes]
    queries = [torch.randn(batch, *shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    keys = [query.detach() + 0.5 * torch.randn_like(query) for query in queries]
    places = [torch.randperm(shape[1] * shape[2])[:count] for shape, count in zip(shapes, patches)]
    total = 0
    for head, query, key, place in zip(heads, queries, keys, places):
        rows = lambda feature: F.normalize(head(feature.flatten(2)[:, :, place].transpose(1, 2)), dim=-1)
        q, k = rows(query), rows(key).detach()
        # One image and one patch after the other: the positive first, then the other patches of the same image.
        for b in range(batch):
            for p in range(len(place)):
                others = torch.cat([k[b, :p], k[b, p + 1:]])
                logits = torch.cat([(q[b, p] * k[b, p]).sum()[None], others @ q[b, p]]) / temperature
                total = total + F.cross_entropy(logits[None], torch.zeros(1, dtype=torch.long)) / (batch * len(place))
    total.backward()
    given = {f"weights.mlp_{i}.{key}": value for i, head in enumerate(heads) for key, value in head.state_dict().items()}
    for i in range(2):
        given.update({f"query.{i}": queries[i], f"key.{i}": keys[i], f"places.{i}": places[i]})
    ours = probe("patch_nce", given)
    # CUT divides rows by their length + 1e-7, F.normalize by their length.
    check("patch_nce loss", ours["loss"], total.detach(), 1e-6)
    for i, head in enumerate(heads):
        check(f"patch_nce gradient of query {i}", ours[f"grad.query.{i}"], queries[i].grad, 1e-5)
        for key, parameter in head.named_parameters():
            check(f"patch_nce gradient of head {i} {key}", ours[f"grad.mlp_{i}.{key}"], parameter.grad, 1e-5)


torch.manual_seed(1)
torch.set_num_threads(1)
wanted = [0, 4, 8, 12, 13, 16]
compare_network("cut_generator", Generator(6, 3), lambda network, x: network(x, wanted), {"width": 6, "blocks": 3, "nce_layers": wanted},
                torch.rand(2, 3, 24, 32) * 2 - 1)
compare_network("cut_discriminator", Discriminator(6, 3), lambda network, x: network(x), {"width": 6, "layers": 3}, torch.rand(2, 3, 52, 45) * 2 - 1)
compare_network("cut_discriminator", Discriminator(4, 5), lambda network, x: network(x), {"width": 4, "layers": 5}, torch.rand(1, 3, 128, 128) * 2 - 1)
compare_nce()
finish()
