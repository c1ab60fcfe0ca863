"""EfficientNet-Lite0: the small frozen picture encoder of `mini`.

Layers of Tan & Le 2019 (arXiv 1905.11946) as the Lite variant has them: ReLU6, no squeeze-and-excitation. Parameter
names are those of the published ImageNet weights, so that these load without renaming.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# kernel, stride of the first block, expansion, output channels, blocks
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4))
LAST_STAGE = (3, 1, 6, 320, 1)
STEM, HEAD = 32, 1280
CELL_CHANNELS = 320
SIZE = 224
EPS = 1e-3  # of TensorFlow's batch norm, which trained the weights


class SameConv2d(nn.Conv2d):
    """Convolution padded as TensorFlow's 'SAME': a stride of two pads below and to the right only.

    Symmetric padding shifts every stride by half a pixel and costs the published weights some of their accuracy.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = kernel - stride if stride > 1 else kernel - 1
        before = total // 2
        return self._conv_forward(F.pad(x, (before, total - before, before, total - before)), self.weight, self.bias)


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, EPS)
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, EPS)
        self._project_conv = nn.Conv2d(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, EPS)
        self.expands = expansion > 1
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Classifier of 1000 ImageNet classes; `features` gives what lies before the last layer."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, EPS)
        blocks, inputs = [], STEM
        for kernel, stride, expansion, outputs, count in (*STAGES, LAST_STAGE):
            for i in range(count):
                blocks.append(Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(inputs, HEAD, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(HEAD, EPS)
        self._fc = nn.Linear(HEAD, 1000)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) in [-1, 1] -> the last block's map (N, 320, S/32, S/32) and the pooled head (N, 1280)."""
        x = F.relu6(self._bn0(self._conv_stem(pixels)))
        for block in self._blocks:
            x = block(x)
        head = F.relu6(self._bn1(self._conv_head(x)))
        return x, head.mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) in [-1, 1] -> logits (N, 1000)."""
        return self._fc(self.features(pixels)[1])


def normalise(pictures: Tensor) -> Tensor:
    """(N, H, W, 3) RGB, 0..255 of any dtype -> (N, 3, H, W), (x - 127) / 128 as the weights were trained on."""
    return ((pictures.to(torch.float32) - 127.0) / 128.0).permute(0, 3, 1, 2)
