"""A GPTQ checkpoint -> the folder that callm_edge.stage2.decoder reads: an ONNX graph with int4 matrix products.

A layer of the graph:

    x -> SkipRMSNorm -> [q k v] MatMulNBits -> GroupQueryAttention (rotary, KV cache) -> o MatMulNBits -> SkipRMSNorm
      -> [gate up] MatMulNBits -> SiLU(gate) * up -> down MatMulNBits -> x

q, k, v lie in one matrix and so do gate and up: 120 products a token instead of 210, with the same numbers.
Only the last position goes through the output layer. Scales are stored in float16 and widened when the graph is loaded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.stage2.decoder import GRAPH, SCHEMA, SPEC, WEIGHTS, DecoderSpec
from callm_edge.stage2.text import EMBEDDING, EMBEDDING_SCALES, EMBEDDING_ZEROS, TOKENIZER
from callm_export.gptq_checkpoint import GptqCheckpoint, QuantizedLinear, round_to_nearest
from callm_export.gptq_table import MOMENTS, gptq_table

OPSET = 17
MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators
INLINE = 64  # bytes; smaller tensors stay in the graph's file


@dataclass(frozen=True)
class DecoderOptions:
    """How the graph is made.

    context: longest sequence in tokens; the rotary tables grow with it.
    accuracy_level: 4 multiplies with activations rounded to 8 bits (fast), 0 in float32.
    table_bits, table_group: of the token table when it is also the output layer (tied), or of the output layer alone.
    """

    context: int = 2048
    accuracy_level: int = 4
    table_bits: int = 4
    table_group: int = 32


def export_decoder(
    checkpoint: GptqCheckpoint, out: Path, options: DecoderOptions | None = None, name: str | None = None
) -> DecoderSpec:
    """Write the decoder folder `out` from `checkpoint`, tokenizer included; decoder.json comes last.

    name: of the model, for the record; without it, what the checkpoint calls it.
    """
    options = options or DecoderOptions()
    config = checkpoint.config
    _check(config)
    out.mkdir(parents=True, exist_ok=True)
    graph = _DecoderGraph(checkpoint, out, options)
    graph.write()
    tokenizer = checkpoint.folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise UserError(f"{checkpoint.folder} has no tokenizer.json", "the device reads text with it", "Copy it there")
    # Without the indentation it is 40 % smaller.
    compact = json.dumps(json.loads(tokenizer.read_text(encoding="utf-8")), ensure_ascii=False, separators=(",", ":"))
    atomic.write_text(out / TOKENIZER, compact)
    eos = config.get("eos_token_id")
    spec = DecoderSpec(
        schema_version=SCHEMA,
        vocabulary=config["vocab_size"],
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        kv_heads=graph.kv_heads,
        head_width=graph.head_width,
        context=graph.context,
        eos=tuple(eos) if isinstance(eos, list) else (() if eos is None else (eos,)),
        model=name or str(config.get("_name_or_path") or checkpoint.folder.name),
        quantization={
            "method": "gptq",
            "bits": checkpoint.bits,
            "group": checkpoint.quantization["group_size"],
            "symmetric": bool(checkpoint.quantization.get("sym", True)),
            "tool": checkpoint.quantization.get("meta", {}).get("quantizer", "unknown"),
            "table_bits": options.table_bits,
            "table_group": options.table_group,
            "accuracy_level": options.accuracy_level,
        },
    )
    atomic.write_text(out / SPEC, spec.model_dump_json(indent=2) + "\n")
    return spec


def _check(config: dict[str, Any]) -> None:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    unread = {
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        f"rope_type {kind!r}": kind != "default",
    }
    for name, yes in unread.items():
        if yes:
            raise UserError(
                f"The model has {name}, which the device's graph has not", "", "Use a LLaMA, Vicuna or SmolLM2 model"
            )


class _DecoderGraph:
    def __init__(self, checkpoint: GptqCheckpoint, out: Path, options: DecoderOptions) -> None:
        config = checkpoint.config
        self._checkpoint, self._out, self._options = checkpoint, out, options
        self.layers, self.width = int(config["num_hidden_layers"]), int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        self.kv_heads = int(config.get("num_key_value_heads") or self.heads)
        self.head_width = int(config.get("head_dim") or self.width // self.heads)
        self.intermediate = int(config["intermediate_size"])
        self.context = min(options.context, int(config["max_position_embeddings"]))
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._blob = bytearray()

    def write(self) -> None:
        """decoder.onnx, decoder.bin and the embedding table."""
        eps = float(self._checkpoint.config["rms_norm_eps"])
        self._rotary_tables()
        x, skip = "embeds", ""
        for at in range(self.layers):
            name = f"model.layers.{at}"
            normed, x = self._norm(x, skip, f"{name}.input_layernorm", eps)
            qkv = self._linear(normed, [f"{name}.self_attn.{part}_proj" for part in "qkv"], f"layers.{at}.qkv")
            attended = self._attention(qkv, at)
            skip = self._linear(attended, [f"{name}.self_attn.o_proj"], f"layers.{at}.o")
            normed, x = self._norm(x, skip, f"{name}.post_attention_layernorm", eps)
            skip = self._feed_forward(normed, at)
        hidden, _ = self._norm(x, skip, "model.norm", eps)
        last = self._add("Gather", [hidden, self._small("minus_one", np.array(-1, np.int64))], "last_hidden", axis=1)
        self._output_layer(last)
        self._save()

    def _add(self, op: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes: Any) -> str:
        outputs = [output] if isinstance(output, str) else output
        self._nodes.append(
            helper.make_node(op, inputs, outputs, name=f"{outputs[0]}.node", domain=domain, **attributes)
        )
        return outputs[0]

    def _small(self, name: str, value: np.ndarray) -> str:
        if all(known.name != name for known in self._weights):
            self._weights.append(numpy_helper.from_array(value, name))
        return name

    def _stored(self, name: str, value: np.ndarray, file: str = WEIGHTS, offset: int | None = None) -> str:
        """A weight outside of the graph's file: appended to decoder.bin, or at `offset` of a file of its own."""
        if value.nbytes < INLINE:
            return self._small(name, value)
        if offset is None:
            self._blob += bytes(-len(self._blob) % 64)  # aligned, so that it can be used where it is mapped
            offset = len(self._blob)
            self._blob += value.tobytes()
        tensor = TensorProto(name=name, dims=value.shape, data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
        for key, text in (("location", file), ("offset", str(offset)), ("length", str(value.nbytes))):
            tensor.external_data.add(key=key, value=text)
        self._weights.append(tensor)
        return name

    def _rotary_tables(self) -> None:
        config = self._checkpoint.config
        theta = float((config.get("rope_parameters") or {}).get("rope_theta") or config.get("rope_theta") or 10000.0)
        steps = np.arange(0, self.head_width, 2, dtype=np.float64) / self.head_width
        angles = np.arange(self.context)[:, None] / theta**steps
        self._stored("rotary.cos", np.cos(angles).astype(np.float32))
        self._stored("rotary.sin", np.sin(angles).astype(np.float32))

    def _norm(self, x: str, skip: str, name: str, eps: float) -> tuple[str, str]:
        """RMS norm of x + skip; returns the norm and the sum."""
        weight = self._stored(f"{name}.weight", self._checkpoint.array(f"{name}.weight"))
        if not skip:
            return self._add("SimplifiedLayerNormalization", [x, weight], f"{name}.out", epsilon=eps, axis=-1), x
        total = f"{name}.sum"
        outputs = [f"{name}.out", "", "", total]
        op = "SkipSimplifiedLayerNormalization"
        return self._add(op, [x, skip, weight], outputs, MICROSOFT, epsilon=eps), total

    def _linear(self, x: str, parts: list[str], name: str) -> str:
        linear = QuantizedLinear.stacked([self._checkpoint.linear(part) for part in parts])
        middle = 1 << (linear.bits - 1)
        names = [
            self._stored(f"{name}.weight", packed_blocks(linear)),
            self._stored(f"{name}.scales", linear.scales.astype(np.float16).reshape(-1)),
        ]
        if not (linear.zeros == middle).all():  # else the operator's default
            names.append(self._stored(f"{name}.zeros", packed_zeros(linear).reshape(-1)))
        return self._product(x, names, linear, name)

    def _product(self, x: str, names: list[str], linear: QuantizedLinear, name: str) -> str:
        wide = self._add("Cast", [names[1]], f"{name}.scales.wide", to=TensorProto.FLOAT)
        return self._add(
            "MatMulNBits",
            [x, names[0], wide, *names[2:]],
            f"{name}.out",
            MICROSOFT,
            K=linear.values.shape[1],
            N=linear.values.shape[0],
            bits=linear.bits,
            block_size=linear.group,
            accuracy_level=self._options.accuracy_level,
        )

    def _attention(self, qkv: str, at: int) -> str:
        past, present = [f"past.{at}.key", f"past.{at}.value"], [f"present.{at}.key", f"present.{at}.value"]
        return self._add(
            "GroupQueryAttention",
            [qkv, "", "", *past, "last", "total", "rotary.cos", "rotary.sin"],
            [f"layers.{at}.attended", *present],
            MICROSOFT,
            num_heads=self.heads,
            kv_num_heads=self.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )

    def _feed_forward(self, x: str, at: int) -> str:
        name = f"model.layers.{at}.mlp"
        both = self._linear(x, [f"{name}.gate_proj", f"{name}.up_proj"], f"layers.{at}.gate_up")
        sizes = self._small("halves", np.array([self.intermediate] * 2, np.int64))
        gate, up = f"layers.{at}.gate", f"layers.{at}.up"
        self._add("Split", [both, sizes], [gate, up], axis=-1)
        # x * sigmoid(1 * x), that is SiLU, in one kernel.
        active = self._add("QuickGelu", [gate], f"layers.{at}.active", MICROSOFT, alpha=1.0)
        gated = self._add("Mul", [active, up], f"layers.{at}.gated")
        return self._linear(gated, [f"{name}.down_proj"], f"layers.{at}.down")

    def _output_layer(self, hidden: str) -> None:
        options = self._options
        embedding = self._checkpoint.array("model.embed_tokens.weight")
        tied, linear = output_layer(self._checkpoint, options)
        blocks, scales, zeros = packed_blocks(linear), linear.scales.astype(np.float16), packed_zeros(linear)
        if tied:
            # Mapped by the table's reader and by ONNX Runtime alike: one copy on disk.
            names = [
                self._stored(f"table.{part}", array.reshape(shape), file, _save_array(self._out / file, array))
                for part, file, array, shape in (
                    ("weight", EMBEDDING, blocks, blocks.shape),
                    ("scales", EMBEDDING_SCALES, scales, (-1,)),
                    ("zeros", EMBEDDING_ZEROS, zeros, (-1,)),
                )
            ]
        else:
            _save_array(self._out / EMBEDDING, embedding.astype(np.float16))
            for stale in (EMBEDDING_SCALES, EMBEDDING_ZEROS):
                (self._out / stale).unlink(missing_ok=True)
            names = [
                self._stored("table.weight", blocks),
                self._stored("table.scales", scales.reshape(-1)),
                self._stored("table.zeros", zeros.reshape(-1)),
            ]
        self._nodes.append(
            helper.make_node(
                "Identity", [self._product(hidden, names, linear, "table")], ["logits"], name="logits.node"
            )
        )

    def _save(self) -> None:
        cache: list[str | int | None] = [1, self.kv_heads, "capacity", self.head_width]
        floats, ints = TensorProto.FLOAT, TensorProto.INT32
        inputs = [
            helper.make_tensor_value_info("embeds", floats, [1, "tokens", self.width]),
            helper.make_tensor_value_info("last", ints, [1]),  # index of the last token
            helper.make_tensor_value_info("total", ints, [1]),  # tokens in the cache after this call
        ]
        outputs = [helper.make_tensor_value_info("logits", floats, [1, int(self._checkpoint.config["vocab_size"])])]
        for at in range(self.layers):
            for kind in ("key", "value"):
                inputs.append(helper.make_tensor_value_info(f"past.{at}.{kind}", floats, cache))
                outputs.append(helper.make_tensor_value_info(f"present.{at}.{kind}", floats, cache))
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="callm-edge")
        model.ir_version = 8
        atomic.write_bytes(self._out / WEIGHTS, bytes(self._blob))
        atomic.write_bytes(self._out / GRAPH, model.SerializeToString())


def output_layer(checkpoint: GptqCheckpoint, options: DecoderOptions) -> tuple[bool, QuantizedLinear]:
    """Whether the output layer is the token table too, and its weights.

    By GPTQ where `callm-edge quantize` left the second moments, else (a checkpoint from elsewhere) rounded to nearest.
    """
    tied = not checkpoint.has("lm_head.weight") or bool(checkpoint.config.get("tie_word_embeddings"))
    weight = checkpoint.array("model.embed_tokens.weight" if tied else "lm_head.weight")
    moments = checkpoint.folder / MOMENTS
    if moments.is_file():
        return tied, gptq_table(weight, np.load(moments), options.table_bits, options.table_group)
    return tied, round_to_nearest(weight, options.table_bits, options.table_group)


def packed_blocks(linear: QuantizedLinear) -> np.ndarray:
    """Values as MatMulNBits wants them: (out, groups, group * bits / 8) uint8, along the input, low half first."""
    out, size = linear.values.shape
    blocks = linear.values.reshape(out, size // linear.group, linear.group)
    return _packed(blocks) if linear.bits == 4 else np.ascontiguousarray(blocks)


def packed_zeros(linear: QuantizedLinear) -> np.ndarray:
    """Zero points as MatMulNBits wants them: (out, ceil(groups * bits / 8)) uint8; a lone last half is filled up."""
    if linear.bits == 8:
        return linear.zeros
    return _packed(np.pad(linear.zeros, ((0, 0), (0, linear.zeros.shape[1] % 2))))


def _packed(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[..., 0::2] | values[..., 1::2] << 4)


def _save_array(path: Path, array: np.ndarray) -> int:
    """Write a .npy file; returns where its data begins."""
    with atomic.replacing(path) as temporary:
        with temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        return temporary.stat().st_size - array.nbytes
