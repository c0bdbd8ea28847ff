"""CUT's generator in plain PyTorch, written from the papers. published: with what its authors' files hold beside the weights, the filters, and where asked
with dropout in the blocks."""
import torch
import torch.nn.functional as F
from torch import nn


class Filter(nn.Module):
    """The same filter for each channel, as a buffer; its values are whole numbers of 64ths, exact in any dtype."""

    def __init__(self, channels, line, gain, published):
        super().__init__()
        line = torch.tensor(line, dtype=torch.float32)
        self.channels = channels
        self.register_buffer("filt", (gain * torch.outer(line, line) / line.sum() ** 2).repeat(channels, 1, 1, 1), persistent=published)


class Blur(Filter):
    """Low-pass filter, then every second pixel (R. Zhang, 2019)."""

    def __init__(self, channels, published=False):
        super().__init__(channels, [1, 2, 1], 1, published)

    def forward(self, x):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filt, stride=2, groups=self.channels)


class Unblur(Filter):
    """Zeros between pixels, then the low-pass filter, with repeated borders."""

    def __init__(self, channels, published=False):
        super().__init__(channels, [1, 3, 3, 1], 4, published)

    def forward(self, x):
        wide = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.filt, stride=2, groups=self.channels)
        return wide[:, :, 3:-3, 3:-3]


class Block(nn.Module):
    def __init__(self, channels, dropout=False):
        super().__init__()
        layers = []
        for last in (False, True):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)] + ([] if last else [nn.ReLU()])
            layers += [nn.Dropout(0.5)] if dropout and not last else []
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv_block(x)


class Generator(nn.Module):
    def __init__(self, width, blocks, published=False, dropout=False):
        super().__init__()
        norm_relu = lambda channels: [nn.InstanceNorm2d(channels), nn.ReLU()]
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *norm_relu(width)]
        for channels in (2 * width, 4 * width):
            layers += [nn.Conv2d(channels // 2, channels, 3, padding=1), *norm_relu(channels), Blur(channels, published)]
        layers += [Block(4 * width, dropout) for _ in range(blocks)]
        for channels in (2 * width, width):
            layers += [Unblur(2 * channels, published), nn.Conv2d(2 * channels, channels, 3, padding=1), *norm_relu(channels)]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, x, wanted=()):
        features = []
        for index, layer in enumerate(self.model):
            x = layer(x)
            if index in wanted:
                features.append(x)
        return [x, *features]
