"""ELITE's mapper as its equations say it, with the published file's names."""
import torch

STATES = (-1, 4, 8, 12, 16)  # which hidden state of the image encoder each word is made of


class Mapper(torch.nn.ModuleDict):
    """Ten mapping networks, and two projections for each cross-attention of a UNet of diffusers."""

    def __init__(self, unet, width, hidden, words):
        linear, norm = torch.nn.Linear, torch.nn.LayerNorm
        network = lambda: torch.nn.Sequential(linear(width, hidden), norm(hidden), torch.nn.LeakyReLU(), linear(hidden, hidden), norm(hidden),
                                              torch.nn.LeakyReLU(), linear(hidden, words))
        super().__init__({f"mapping{kind}_{i}": network() for i in range(5) for kind in ("", "_patch")})
        for name, module in cross_attentions(unet):
            for side in "kv":
                self[f"{name.replace('.', '_')}_to_{side}"] = linear(words, module.to_k.out_features, bias=False)

    def words(self, states):
        return torch.cat([self[f"mapping_{i}"](states[k][:, :1]) + self[f"mapping_patch_{i}"](states[k][:, 1:]).mean(1, keepdim=True)
                          for i, k in enumerate(STATES)], 1)

    def put_into(self, unet):
        """The projections into the place of the UNet's own: for all texts."""
        for name, module in cross_attentions(unet):
            module.to_k.weight, module.to_v.weight = (self[f"{name.replace('.', '_')}_to_{side}"].weight for side in "kv")


def cross_attentions(unet):
    return [item for item in unet.named_modules() if item[0].endswith("attn2")]
