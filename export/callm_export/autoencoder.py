"""The 3D convolutional autoencoder of stage 1.

Architecture and layer names are those of the published code (Astrid et al., "Learning Not to Reconstruct Anomalies",
BMVC 2021; the same network as CALLM's stage 1), so that published checkpoints load as they are. All kernels 3 x 3 x 3:

    window    1 x 16 x 256 x 256            decoder     c4 x  2 x  16 x  16
    conv 1   c1 x 16 x 128 x 128            convT 1     c3 x  4 x  32 x  32
    conv 2   c2 x  8 x  64 x  64            convT 2     c2 x  8 x  64 x  64
    conv 3   c3 x  4 x  32 x  32            convT 3     c1 x 16 x 128 x 128
    conv 4   c4 x  2 x  16 x  16            convT 4      1 x 16 x 256 x 256, tanh
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from callm_edge.errors import UsageError
from callm_edge.names import nearest

WINDOW = 16  # frames
SCORED = 8  # 0-based index of the frame that is scored: the 9th
SIZE = 256  # pixels, side of a frame

PRESETS: dict[str, tuple[int, int, int, int]] = {
    "reference": (96, 128, 256, 256),
    "edge": (16, 32, 64, 128),
    "nano": (8, 16, 32, 64),
}


class Encoder(nn.Module):
    """Window (B, 1, 16, H, W) in [-1, 1] -> code (B, c4, 2, H/16, W/16)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        layers: list[nn.Module] = []
        for before, after, stride in ((1, c1, (1, 2, 2)), (c1, c2, 2), (c2, c3, 2), (c3, c4, 2)):
            layers += [nn.Conv3d(before, after, 3, stride, 1), nn.BatchNorm3d(after), nn.LeakyReLU(0.2, inplace=True)]
        self.encoder = nn.Sequential(*layers)

    def forward(self, window: Tensor) -> Tensor:
        return self.encoder(window)


class Decoder(nn.Module):
    """Code (B, c4, 2, H/16, W/16) -> reconstruction (B, 1, 16, H, W) in [-1, 1]."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        layers: list[nn.Module] = []
        for before, after in ((c4, c3), (c3, c2), (c2, c1)):
            layers += [
                nn.ConvTranspose3d(before, after, 3, 2, 1, 1),
                nn.BatchNorm3d(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [nn.ConvTranspose3d(c1, 1, 3, (1, 2, 2), 1, (0, 1, 1)), nn.Tanh()]
        self.decoder = nn.Sequential(*layers)

    def forward(self, code: Tensor) -> Tensor:
        return self._picture(self.decoder[9], self.decoder[:9](code))

    def scored_frame(self, code: Tensor) -> Tensor:
        """Code -> frame 9 of the reconstruction, (B, 1, 1, H, W): the same numbers as `forward(code)[:, :, 8:9]`.

        A transposed convolution of stride 2 writes output o from inputs (o - 1) / 2 and (o + 1) / 2 (odd o) or o / 2
        (even o), so frame 8 needs frames 7..9 of convT 3, those need 3..5 of convT 2, and those 1..3 of convT 1.
        A time padding of 2 in place of 1 cuts one more frame off each end, so nothing else is computed.
        """
        layer = self.decoder
        x = layer[2](layer[1](layer[0](code)[:, :, 1:4]))
        x = layer[5](layer[4](_without_ends(layer[3], x)))
        x = layer[8](layer[7](_without_ends(layer[6], x)))
        return self._picture(lambda y: _without_ends(layer[9], y), x)

    def _picture(self, last: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        # In float32 even under autocast: the CPU's bf16 weight gradient of a transposed convolution with one output
        # channel is wrong (infinite; torch 2.13).
        with torch.autocast(x.device.type, enabled=False):
            return self.decoder[10](last(x.float()))


def _without_ends(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` for 3 input frames, less the output frames that lie beyond the middle of the outer two."""
    assert isinstance(layer, nn.ConvTranspose3d)
    return nn.functional.conv_transpose3d(
        x, layer.weight, layer.bias, layer.stride, padding=(2, 1, 1), output_padding=(0, 1, 1)
    )


class Autoencoder(nn.Module):
    """Encoder and decoder. ``channels`` are c1..c4 of the table above; see PRESETS."""

    def __init__(self, channels: Sequence[int] = PRESETS["reference"]) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.encoder = Encoder(channels)
        self.decoder = Decoder(channels)

    @classmethod
    def preset(cls, name: str) -> Autoencoder:
        """The network of a preset. Raises UsageError for an unknown name."""
        if name not in PRESETS:
            raise UsageError(
                f"There is no preset '{name}'", f"presets are {', '.join(PRESETS)}", nearest(name, PRESETS)
            )
        return cls(PRESETS[name])

    def forward(self, window: Tensor) -> Tensor:
        """Window (B, 1, 16, H, W) in [-1, 1] -> reconstruction of the same shape."""
        return self.decoder(self.encoder(window))

    def scored_frame(self, window: Tensor) -> Tensor:
        """Window (B, 1, 16, H, W) in [-1, 1] -> reconstruction of its 9th frame, (B, 1, 1, H, W)."""
        return self.decoder.scored_frame(self.encoder(window))


def normalise(frames: Tensor) -> Tensor:
    """uint8 gray -> [-1, 1], x / 127.5 - 1 as in the published code."""
    return frames.to(torch.float32) / 127.5 - 1.0
