"""A checkpoint of the text stack enters; one ONNX graph for prefill and decoding, its weights beside it, leaves.

Inputs: `embeds` (b, s, d) float32; `attention_mask` (b, p + s), `position_ids` (3, b, s), `logit_columns` (r,) int64;
per layer `past_key.i`, `past_value.i` (b, kv, p, w). Outputs: `logits` (b, r, v), `present_key.i`, `present_value.i`
(b, kv, p + s, w). b, s, p and r are free; p is 0 in prefill. The graph is written node by node while its weights
stream to the data file, so the model never exists in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from models.vlm.checkpoint import StoredTensor, VlmCheckpoint, as_float32
from models.vlm.nets.weights import (
    QUANT_BLOCK,
    DataFile,
    WeightType,
    head_pieces,
    inline,
    matrix_type,
    rounded,
    write_turned,
)
from models.vlm.sizes import HEAD, TEXT, TextSizes

OPSET: Final = 20
_IR_VERSION: Final = 10
_CONTRIB: Final = "com.microsoft"
_INT8_ACTIVATIONS: Final = 4  # MatMulNBits' accuracy level whose kernels are the fast ones
_LOWEST: Final = np.finfo(np.float32).min

Progress = Callable[[int, int], None]


class GraphWriter:
    """Nodes and initialisers of a graph that is being written."""

    def __init__(self, data: DataFile, checkpoint: VlmCheckpoint, weights: WeightType) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []
        self._data = data
        self._checkpoint = checkpoint
        self._weights = weights
        self._names: set[str] = set()

    def op(self, kind: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def split(self, value: str, count: int) -> list[str]:
        """Cut the last axis into `count` equal parts."""
        names = [f"Split_{len(self.nodes)}_{part}" for part in range(count)]
        self.nodes.append(helper.make_node("Split", [value], names, name=names[0], axis=-1, num_outputs=count))
        return names

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Keep a constant once, under a name of its own."""
        if name not in self._names:
            self._names.add(name)
            self.initialisers.append(inline(name, values))
        return name

    def integers(self, *values: int) -> str:
        """Constant vector of int64."""
        return self.constant("int_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """Constant float32."""
        return self.constant(f"float_{value!r}", np.array(value, dtype=np.float32))

    def vector(self, name: str) -> str:
        """Norm weight or bias of the checkpoint, as float32."""
        return self.constant(name, self._checkpoint.tensors[name].read_float32())

    def linear(self, value: str, name: str, *, rows: tuple[int, int] | None = None) -> str:
        """Multiply by the checkpoint's matrix `name` (out, in), or by some of its rows, adding the bias it may have."""
        tensor = self._checkpoint.tensors[name]
        start, stop = rows or (0, tensor.shape[0])
        key = name if rows is None else f"{name}.{start}"
        product = (self._rounded if self._weights.bits else self._plain)(value, key, tensor, tensor.rows(start, stop))
        bias = name.removesuffix("weight") + "bias"
        return self.op("Add", product, self.vector(bias)) if bias in self._checkpoint.tensors else product

    def _plain(self, value: str, key: str, tensor: StoredTensor, stored: NDArray[Any]) -> str:
        onnx_type = matrix_type(tensor, self._weights)
        proto = self._data.append(
            key, onnx_type, stored.shape[::-1], lambda file: write_turned(file, stored, tensor.dtype, onnx_type)
        )
        self.initialisers.append(proto)
        matrix = key if onnx_type == TensorProto.FLOAT else self.op("Cast", key, to=TensorProto.FLOAT)
        return self.op("MatMul", value, matrix)

    def _rounded(self, value: str, key: str, tensor: StoredTensor, stored: NDArray[Any]) -> str:
        bits = self._weights.bits or 0
        codes, scales = rounded(as_float32(stored, tensor.dtype), bits)
        for suffix, array, onnx_type in (("codes", codes, TensorProto.UINT8), ("scales", scales, TensorProto.FLOAT)):
            self.initialisers.append(self._data.append_array(f"{key}.{suffix}", onnx_type, array))
        return self.op(
            "MatMulNBits",
            value,
            f"{key}.codes",
            f"{key}.scales",
            domain=_CONTRIB,
            K=stored.shape[1],
            N=stored.shape[0],
            bits=bits,
            block_size=QUANT_BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )


def write_decoder(
    checkpoint: VlmCheckpoint, sizes: TextSizes, path: Path, *, weights: WeightType, progress: Progress
) -> None:
    """Write `path` and `path`.data. `progress` is told the layers done and their number, the head as one more."""
    with DataFile(path.with_name(path.name + ".data")) as data:
        writer = GraphWriter(data, checkpoint, weights)
        shared = _shared_values(writer, sizes)
        tokens = "embeds"
        for number in range(sizes.layers):
            tokens = _layer(writer, sizes, number, tokens, shared)
            progress(number + 1, sizes.layers + 1)
        _head(writer, sizes, tokens)
        progress(sizes.layers + 1, sizes.layers + 1)
    inputs, outputs = _interface(sizes)
    graph = helper.make_graph(writer.nodes, "decoder", inputs, outputs, writer.initialisers)
    opsets = [helper.make_opsetid("", OPSET)]
    if weights.bits:
        opsets.append(helper.make_opsetid(_CONTRIB, 1))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION), path)


def _shared_values(writer: GraphWriter, sizes: TextSizes) -> dict[str, str]:
    """Mask, rotation and shapes, the same for every layer."""
    op, group = writer.op, sizes.heads // sizes.kv_heads
    total = op("Shape", "attention_mask", start=1, end=2)
    length = op("Shape", "embeds", start=1, end=2)
    zero, one = writer.constant("zero", np.array(0)), writer.constant("one", np.array(1))
    last, first = op("Squeeze", total), op("Squeeze", op("Sub", total, length))
    columns, rows = op("Range", zero, last, one), op("Range", first, last, one)
    ahead = op("Greater", columns, op("Unsqueeze", rows, writer.integers(1)))
    padding = op("Unsqueeze", op("Equal", "attention_mask", zero), writer.integers(1))
    mask = op("Where", op("Or", ahead, padding), writer.scalar(float(_LOWEST)), writer.scalar(0.0))

    width = sizes.head_width
    frequencies = (1.0 / np.float32(sizes.rope_theta) ** (np.arange(0, width, 2, dtype=np.float32) / width)).astype(
        np.float32
    )
    turning = op("Gather", "position_ids", writer.integers(*sizes.frequency_rows), axis=0)
    turning = op("Cast", op("Transpose", turning, perm=[1, 2, 0]), to=TensorProto.FLOAT)
    angles = op("Mul", turning, writer.constant("frequencies", frequencies))
    cosine, sine = (op("Unsqueeze", op(kind, angles), writer.integers(1)) for kind in ("Cos", "Sin"))
    return {
        "mask": op("Unsqueeze", mask, writer.integers(1, 2)),
        "cosine": cosine,
        "sine": sine,
        "query_cosine": op("Unsqueeze", cosine, writer.integers(1)),
        "query_sine": op("Unsqueeze", sine, writer.integers(1)),
        "by_head": op("Concat", writer.integers(0, 0, group, -1), total, axis=0),
        "by_group": op("Concat", writer.integers(0, 0, -1), total, axis=0),
    }


def _layer(writer: GraphWriter, sizes: TextSizes, number: int, tokens: str, shared: dict[str, str]) -> str:
    prefix = f"{TEXT}layers.{number}."
    normed = _norm(writer, sizes, tokens, f"{prefix}input_layernorm.weight")
    attended = _attention(writer, sizes, number, normed, shared)
    tokens = writer.op("Add", tokens, attended)
    normed = _norm(writer, sizes, tokens, f"{prefix}post_attention_layernorm.weight")
    gate = writer.linear(normed, f"{prefix}mlp.gate_proj.weight")
    gate = writer.op("Mul", gate, writer.op("Sigmoid", gate))
    inner = writer.op("Mul", gate, writer.linear(normed, f"{prefix}mlp.up_proj.weight"))
    return writer.op("Add", tokens, writer.linear(inner, f"{prefix}mlp.down_proj.weight"))


def _attention(writer: GraphWriter, sizes: TextSizes, number: int, tokens: str, shared: dict[str, str]) -> str:
    """Grouped-query attention: the queries of one group are rows of one product with its keys."""
    op, prefix = writer.op, f"{TEXT}layers.{number}.self_attn."
    group, width = sizes.heads // sizes.kv_heads, sizes.head_width
    projected = {part: writer.linear(tokens, f"{prefix}{part}_proj.weight") for part in "qkv"}
    query = op("Reshape", projected["q"], writer.integers(0, 0, sizes.kv_heads, group, width))
    query = op("Transpose", query, perm=[0, 2, 3, 1, 4])
    key, value = (
        op("Transpose", op("Reshape", projected[part], writer.integers(0, 0, sizes.kv_heads, width)), perm=[0, 2, 1, 3])
        for part in "kv"
    )
    query = _rotate(writer, query, shared["query_cosine"], shared["query_sine"])
    query = op("Mul", query, writer.scalar(width**-0.5))
    key = _rotate(writer, key, shared["cosine"], shared["sine"])
    key = op("Concat", f"past_key.{number}", key, axis=2, output=f"present_key.{number}")
    value = op("Concat", f"past_value.{number}", value, axis=2, output=f"present_value.{number}")
    rows = op("Reshape", query, writer.integers(0, 0, -1, width))
    logits = op("Reshape", op("MatMul", rows, op("Transpose", key, perm=[0, 1, 3, 2])), shared["by_head"])
    weights = op("Softmax", op("Add", logits, shared["mask"]), axis=-1)
    attended = op("MatMul", op("Reshape", weights, shared["by_group"]), value)
    attended = op("Reshape", attended, writer.integers(0, 0, group, -1, width))
    attended = op("Transpose", attended, perm=[0, 3, 1, 2, 4])
    merged = op("Reshape", attended, writer.integers(0, 0, sizes.heads * width))
    return writer.linear(merged, f"{prefix}o_proj.weight")


def _rotate(writer: GraphWriter, features: str, cosine: str, sine: str) -> str:
    op = writer.op
    first, second = writer.split(features, 2)
    turned = op("Sub", op("Mul", first, cosine), op("Mul", second, sine))
    other = op("Add", op("Mul", second, cosine), op("Mul", first, sine))
    return op("Concat", turned, other, axis=-1)


def _norm(writer: GraphWriter, sizes: TextSizes, tokens: str, name: str) -> str:
    op = writer.op
    mean = op("ReduceMean", op("Mul", tokens, tokens), writer.integers(-1), keepdims=1)
    root = op("Sqrt", op("Add", mean, writer.scalar(sizes.rms_eps)))
    return op("Mul", op("Div", tokens, root), writer.vector(name))


def _head(writer: GraphWriter, sizes: TextSizes, tokens: str) -> None:
    chosen = writer.op("Gather", tokens, "logit_columns", axis=1)
    normed = _norm(writer, sizes, chosen, f"{TEXT}norm.weight")
    parts = [writer.linear(normed, HEAD, rows=piece) for piece in head_pieces(sizes.vocabulary)]
    writer.op("Concat", *parts, axis=-1, output="logits")


def _interface(sizes: TextSizes) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    def tensor(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    def cached(name: str, length: str) -> list[onnx.ValueInfoProto]:
        shape = ("batch", sizes.kv_heads, length, sizes.head_width)
        return [
            tensor(f"{name}_{part}.{number}", TensorProto.FLOAT, *shape)
            for number in range(sizes.layers)
            for part in ("key", "value")
        ]

    inputs = [
        tensor("embeds", TensorProto.FLOAT, "batch", "length", sizes.width),
        tensor("attention_mask", TensorProto.INT64, "batch", "total"),
        tensor("position_ids", TensorProto.INT64, 3, "batch", "length"),
        tensor("logit_columns", TensorProto.INT64, "columns"),
        *cached("past", "past"),
    ]
    logits = tensor("logits", TensorProto.FLOAT, "batch", "columns", sizes.vocabulary)
    return inputs, [logits, *cached("present", "total")]
