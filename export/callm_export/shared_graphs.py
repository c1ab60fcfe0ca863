"""The trained autoencoder as four ONNX graphs that share work between neighbouring windows.

The arithmetic is that of the whole window, cut along time. A 3D convolution is three 2D convolutions of single frames,
one for each temporal tap W0, W1, W2, summed. For what no edge of a window touches the sum is the same in every window
that contains it, and is computed once; docs/stage1.md derives and counts it. With s an absolute frame number, w the
first and n = w + 15 the last frame of a window, and act = LeakyReLU:

    conv1    A1[s] = act(b + W0 x[s-1] + W1 x[s] + W2 x[s+1])
    conv2    M2[s] = b + W0 A1[s-1] + W1 A1[s],    Q2[s] = W2 A1[s],    A2[s] = act(M2[s] + Q2[s+1])
    conv3    M3[s] = b + W0 A2[s-2] + W1 A2[s],    Q3[s] = W2 A2[s],    A3[s] = act(M3[s] + Q3[s+2])
    window   the edges L (no W0) and R (no W2) of each layer, conv 4, the decoder as far as frame 9 needs it, the score:
             L2 = act(b + W1 L1 + Q2[w+1])         R2 = act(M2[n-1] + W2 R1)
             L3 = act(b + W1 L2 + Q3[w+2])         R3 = act(M3[n-3] + W2 R2)
             code = act(b + W1 L3 + W2 A3[w+4]),   act(b + W0 A3[w+4] + W1 A3[w+8] + W2 R3)

A transposed convolution of stride 2 is four small convolutions, one for each of the output's four phases (sub-pixel
convolution; Shi et al., CVPR 2016), so that no multiplication by an inserted zero is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, ValueInfoProto, helper

from callm_export.autoencoder import SIZE, Autoencoder
from callm_export.graph_builder import GraphBuilder, folded


def shared_graphs(model: Autoencoder) -> dict[str, onnx.ModelProto]:
    """The graphs of `model` in evaluation mode, by name: conv1, conv2, conv3, window. All for one window or frame."""
    return {"conv1": _conv1(model), "conv2": _conv2(model), "conv3": _conv3(model), "window": _window(model)}


def _conv1(model: Autoencoder) -> onnx.ModelProto:
    g = GraphBuilder()
    a = g.leaky(_Convolution(g, model, 0)(_gray(g, "frames"), taps=(0, 1, 2), bias=True), output="a")
    return g.model("callm_conv1", [_frames("frames", 3)], [_value(a, model.channels[0], 2)])


def _conv2(model: Autoencoder) -> onnx.ModelProto:
    (c1, c2), g = model.channels[:2], GraphBuilder()
    _inner(g, _Convolution(g, model, 3), "a_before", "a_now")
    return g.model(
        "callm_conv2", [_value("a_before", c1, 2), _value("a_now", c1, 2)], [_value("m", c2, 4), _value("q", c2, 4)]
    )


def _conv3(model: Autoencoder) -> onnx.ModelProto:
    (_, c2, c3), g = model.channels[:3], GraphBuilder()
    before = g.leaky(g.add("Add", "m_before", "q_before"))
    _inner(g, _Convolution(g, model, 6), before, g.leaky(g.add("Add", "m_now", "q_now")))
    inputs = [_value(name, c2, 4) for name in ("m_before", "q_before", "m_now", "q_now")]
    return g.model("callm_conv3", inputs, [_value("m", c3, 8), _value("q", c3, 8)])


def _inner(g: GraphBuilder, convolution: _Convolution, before: str, now: str) -> None:
    """M and Q of the docstring above, from two frames of the layer below."""
    convolution(g.add("Concat", before, now, axis=1), taps=(0, 1), bias=True, output="m")
    convolution(now, taps=(2,), output="q")


def _window(model: Autoencoder) -> onnx.ModelProto:
    (_, c2, c3), g = model.channels[:3], GraphBuilder()
    conv1, conv2, conv3, conv4 = (_Convolution(g, model, at) for at in (0, 3, 6, 9))
    l1 = g.leaky(conv1(_gray(g, "first_frames"), taps=(1, 2), bias=True))
    r1 = g.leaky(conv1(_gray(g, "last_frames"), taps=(0, 1), bias=True))
    l2 = g.leaky(g.add("Add", conv2(l1, taps=(1,), bias=True), "q2_first"))
    r2 = g.leaky(g.add("Add", conv2(r1, taps=(2,)), "m2_last"))
    l3 = g.leaky(g.add("Add", conv3(l2, taps=(1,), bias=True), "q3_first"))
    r3 = g.leaky(g.add("Add", conv3(r2, taps=(2,)), "m3_last"))
    inner = [g.leaky(g.add("Add", f"m3_{at}", f"q3_{at}")) for at in (4, 8)]
    code = [
        g.leaky(conv4(g.add("Concat", l3, inner[0], axis=1), taps=(1, 2), bias=True)),
        g.leaky(conv4(g.add("Concat", *inner, r3, axis=1), taps=(0, 1, 2), bias=True)),
    ]
    picture = g.add("Tanh", _decoder(g, model, code))
    outputs = g.score(g.add("Squeeze", picture, g.axes(1)), "scored_frame")
    inputs = [
        _frames("first_frames", 2),
        _frames("last_frames", 2),
        _frames("scored_frame"),
        *(_value(name, c2, 4) for name in ("q2_first", "m2_last")),
        *(_value(name, c3, 8) for name in ("q3_first", "m3_4", "q3_4", "m3_8", "q3_8", "m3_last")),
    ]
    return g.model("callm_window", inputs, outputs)


def _decoder(g: GraphBuilder, model: Autoencoder, code: Sequence[str]) -> str:
    """Both frames of the code -> frame 9 before tanh, (1, 1, 256, 256).

    Along time an even output is one tap, an odd one is two: out[2i] = W1 in[i], out[2i+1] = W2 in[i] + W0 in[i+1].
    """
    convt1, convt2, convt3 = (_Transposed(g, model, at) for at in (0, 3, 6))
    # Frames 1, 2 and 3 of convT 1; beyond frame 1 of the code there is nothing. Then 3, 4, 5 of convT 2.
    x = [_woven(g, convt1(*pair)) for pair in ((code, (2, 0)), (code[1:], (1,)), (code[1:], (2,)))]
    x = [_woven(g, convt2(*pair)) for pair in ((x[:2], (2, 0)), (x[1:2], (1,)), (x[1:], (2, 0)))]
    # Frames 7, 8, 9 of convT 3 stay apart in phases, which is how the last layer takes them.
    phases = [convt3(*pair) for pair in ((x[:2], (2, 0)), (x[1:2], (1,)), (x[1:], (2, 0)))]
    return _last(g, model, [phase for frame in phases for phase in frame])


def _woven(g: GraphBuilder, phases: Sequence[str]) -> str:
    """Phases (even, odd rows times even, odd columns) of half the size -> the picture."""
    return g.add("DepthToSpace", g.add("Concat", *phases, axis=1), blocksize=2, mode="DCR")


def _last(g: GraphBuilder, model: Autoencoder, phases: Sequence[str]) -> str:
    """convT 4, frame 8 from the phases of 7, 8 and 9, in one convolution whose 16 outputs are every 4th pixel.

    Weaving the widest layer and then convolving it into a single channel costs more time than the zeros in this do.
    Of 4 outputs along an axis, from the even (0) and odd (1) inputs of this place, and of the next (+):
        out[0] = W1 in[0], out[1] = W2 in[0] + W0 in[1], out[2] = W1 in[1], out[3] = W2 in[1] + W0 in[0+]
    """
    terms = (((0, 0, 1),), ((0, 0, 2), (1, 0, 0)), ((1, 0, 1),), ((1, 0, 2), (0, 1, 0)))  # (phase, next, tap)
    weight, bias = folded(model.decoder.decoder[9], None, axis=1)  # (c1, 1, t, y, x)
    wide = np.zeros((4, 4, 3, 2, 2, len(weight), 2, 2))  # (y, x of the output, frame, y phase, x phase, c1, next y, x)
    for y, rows in enumerate(terms):
        for x, columns in enumerate(terms):
            for row, below, dy in rows:
                for column, right, dx in columns:
                    # Along time there is no stride: output 8 takes frame 7 by tap 2, 8 by tap 1, 9 by tap 0.
                    wide[y, x, :, row, column, :, below, right] = weight[:, 0, ::-1, dy, dx].T
    x16 = g.add(
        "Conv",
        g.add("Concat", *phases, axis=1),
        g.constant("decoder.9.weight", wide.reshape(16, -1, 2, 2).astype(g.dtype)),
        g.constant("decoder.9.bias", np.repeat(bias, 16).astype(g.dtype)),
        kernel_shape=[2, 2],
        pads=[0, 0, 1, 1],
    )
    return g.add("DepthToSpace", x16, blocksize=4, mode="DCR")


class _Convolution:
    """A convolution of the encoder as 2D convolutions of its temporal taps. at: its number in the network."""

    def __init__(self, g: GraphBuilder, model: Autoencoder, at: int) -> None:
        layers = model.encoder.encoder
        self._g, self._name = g, f"encoder.{at}"
        self._weight, self._bias = folded(layers[at], layers[at + 1], axis=0)

    def __call__(self, x: str, taps: Sequence[int], bias: bool = False, output: str | None = None) -> str:
        """x: frames side by side along the channels, one for each of `taps`."""
        name = f"{self._name}.tap{''.join(map(str, taps))}"
        weight = np.concatenate([self._weight[:, :, tap] for tap in taps], axis=1)
        inputs = [x, self._g.constant(name, weight.astype(self._g.dtype))]
        if bias:
            inputs.append(self._g.constant(f"{self._name}.bias", self._bias.astype(self._g.dtype)))
        return self._g.add("Conv", *inputs, output=output, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


class _Transposed:
    """A transposed convolution of the decoder, of stride 2, as sub-pixel convolutions. at: its number."""

    # Along rows and columns as along time: even outputs from tap 1; odd ones from taps 2 and 0 of two neighbours.
    PHASES = ((1,), (2, 0))

    def __init__(self, g: GraphBuilder, model: Autoencoder, at: int) -> None:
        layers = model.decoder.decoder
        self._g, self._name = g, f"decoder.{at}"
        self._weight, self._bias = folded(layers[at], layers[at + 1], axis=1)

    def __call__(self, frames: Sequence[str], taps: Sequence[int]) -> list[str]:
        """Four phases, activated, of one output frame, from `frames` each through its own of the temporal `taps`."""
        g = self._g
        x = g.add("Concat", *frames, axis=1) if len(frames) > 1 else frames[0]
        bias = g.constant(f"{self._name}.bias", self._bias.astype(g.dtype))
        phases = []
        for rows in self.PHASES:
            for columns in self.PHASES:
                # (in, out, t, y, x) -> (out, in of all taps, y, x)
                chosen = self._weight[:, :, list(taps)][:, :, :, list(rows)][..., list(columns)]
                weight = chosen.transpose(1, 2, 0, 3, 4).reshape(chosen.shape[1], -1, len(rows), len(columns))
                name = f"{self._name}.tap{''.join(map(str, taps))}.{len(rows)}{len(columns)}"
                weight_name = g.constant(name, np.ascontiguousarray(weight, g.dtype))
                pads = [0, 0, len(rows) - 1, len(columns) - 1]
                phase = g.add("Conv", x, weight_name, bias, kernel_shape=[len(rows), len(columns)], pads=pads)
                phases.append(g.leaky(phase))
        return phases


def _gray(g: GraphBuilder, frames: str) -> str:
    return g.normalise(g.add("Cast", frames, to=TensorProto.FLOAT), np.float32)


def _frames(name: str, count: int | None = None) -> ValueInfoProto:
    shape = [1, SIZE, SIZE] if count is None else [1, count, SIZE, SIZE]
    return helper.make_tensor_value_info(name, TensorProto.UINT8, shape)


def _value(name: str, channels: int, scale: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, SIZE // scale, SIZE // scale])
