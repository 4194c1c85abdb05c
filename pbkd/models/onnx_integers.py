"""Rounding to multiples of a step in an ONNX graph as integers, which runtimes compute with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


__all__ = ["use_integers"]

_OPSET_OF_INT4 = 21
_MOST_INT4 = 7
_MOST_BIAS = 2.0**30
_LEAST_STEP = 1e-30


class _Rounding(NamedTuple):
    """The operations `(x / step).round().clamp(lowest, highest) * step`."""

    x: Any
    step: Array
    lowest: float
    highest: float
    last: Any


def use_integers(program: Any) -> None:
    """Replace rounding to multiples of a step by QuantizeLinear and DequantizeLinear, in place.

    A network that was trained so, as by the builder `quantised`, then is a graph in QDQ form, which
    runtimes execute with integers. Weights become int8; int4, if their codes are -7 to 7 and the
    operators are of version 21 or later. A BatchNorm after a convolution becomes a part of its
    steps and bias, and the bias int32.

    Args:
        program: What `torch.onnx.export` returns with `optimize=False`; it is optimised here.
    """
    from onnxscript import optimizer

    model = program.model
    optimizer.fold_constants(model, should_fold=_should_fold)
    found = [rounding for node in model.graph if (rounding := _rounding(node))]
    steps: dict[Any, float] = {}
    for rounding in found:
        if rounding.x.const_value is None and rounding.step.size == 1:
            steps[_quantise_activation(model.graph, rounding)] = float(rounding.step)
    for rounding in found:
        if rounding.x.const_value is not None:
            _quantise_weight(model.graph, rounding, steps)
    program.optimize()
    if model.opset_imports[""] >= _OPSET_OF_INT4:
        for node in list(program.model.graph):
            if node.op_type == "DequantizeLinear":
                _use_int4(program.model.graph, node)
    _remove_remarks(program.model.graph)


def _remove_remarks(graph: Any) -> None:
    """Remove what no runtime reads, and would be a third of the file of a small network."""
    graph.metadata_props.clear()
    for node in graph:
        node.metadata_props.clear()
        node.name = None
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.type, value.shape = None, None


def _should_fold(node: Any) -> bool | None:
    return False if node.op_type in ("Div", "Round") else None


def _rounding(node: Any) -> _Rounding | None:
    """Recognise the operations around a node `Round`."""
    division = node.inputs[0].producer() if node.op_type == "Round" else None
    if division is None or division.op_type != "Div":
        return None
    step, bounds = _array(division.inputs[1]), []
    for kind in ("Max", "Min", "Mul"):
        (node,) = node.outputs[0].consumers() if len(node.outputs[0].uses()) == 1 else (node,)
        if node.op_type != kind or (other := _array(node.inputs[1])) is None:
            return None
        bounds.append(other)
    if step is None or not np.array_equal(step, bounds.pop()):
        return None
    lowest, highest = map(float, bounds)
    return _Rounding(division.inputs[0], step, lowest, highest, node)


def _quantise_activation(graph: Any, rounding: _Rounding) -> Any:
    """Replace a rounding with a zero point; return the value that holds its result."""
    last, name = rounding.last, rounding.last.outputs[0].name
    step = _constant(graph, f"{name}_step", rounding.step.reshape(()))
    zero = _constant(graph, f"{name}_zero", np.array(-rounding.lowest, np.uint8))
    pool = rounding.x.producer()
    if pool is not None and pool.op_type == "MaxPool" and len(rounding.x.uses()) == 1:
        # It selects, so that it can as well follow the rounding: runtimes then join that with the
        # convolution before.
        pool.replace_input_with(0, _quantise(pool, pool.inputs[0], step, zero))
    return _replace(last, _quantise(last, rounding.x, step, zero))


def _quantise(before: Any, x: Any, step: Any, zero: Any) -> Any:
    codes = _insert(before, "QuantizeLinear", [x, step, zero])
    return _insert(before, "DequantizeLinear", [codes, step, zero])


def _quantise_weight(graph: Any, rounding: _Rounding, steps: dict[Any, float]) -> None:
    """Replace a rounding of weights by their codes, and what follows by steps and bias."""
    last = rounding.last
    ratio = _array(rounding.x) / rounding.step
    codes = np.clip(np.rint(ratio), rounding.lowest, rounding.highest)
    layer = _only_user(last.outputs[0], ("Conv", "Gemm"))
    step = rounding.step.reshape(-1)
    if layer is not None:
        codes, step, bias = _with_norm(layer, codes, step)
        if bias is not None:
            codes, step = _set_bias(graph, layer, bias, codes, step, steps.get(layer.inputs[0]))
    name = last.outputs[0].name
    stored = _constant(graph, f"{name}_codes", codes.astype(np.int8))
    held = _constant(graph, f"{name}_steps", step.astype(np.float32))
    _replace(last, _insert(last, "DequantizeLinear", [stored, held], axis=0))


def _use_int4(graph: Any, node: Any) -> None:
    """Store small codes in 4 bits, which runtimes turn into int8 when they open the file."""
    import ml_dtypes
    import onnx_ir

    codes = _array(node.inputs[0])
    if codes is None or codes.dtype != np.int8 or abs(codes.astype(int)).max() > _MOST_INT4:
        return
    stored = _constant(graph, f"{node.inputs[0].name}_int4", codes.astype(ml_dtypes.int4))
    unused = node.inputs[0]
    node.replace_input_with(0, _insert(node, "Cast", [stored], to=onnx_ir.DataType.INT8))
    if not unused.uses():
        del graph.initializers[unused.name]


def _with_norm(layer: Any, codes: Array, step: Array) -> tuple[Array, Array, Array | None]:
    """Join a layer with the BatchNorm after it; return codes, steps and bias."""
    bias = _array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    norm = _only_user(layer.outputs[0], ("BatchNormalization",)) if codes.ndim > 2 else None
    if norm is None:
        return codes, step, bias
    factor, shift = _affine(norm)
    _replace(norm, layer.outputs[0])
    signs = _by_row(np.sign(factor), codes)
    return codes * signs, step * abs(factor), shift if bias is None else shift + bias * factor


def _affine(norm: Any) -> tuple[Array, Array]:
    """Return what a BatchNorm multiplies each channel by, and what it adds."""
    gain, shift, mean, variance = (_array(value).astype(np.float64) for value in norm.inputs[1:5])
    eps = norm.attributes["epsilon"].as_float() if "epsilon" in norm.attributes else 1e-5
    factor = gain / np.sqrt(variance + eps)
    return factor, shift - mean * factor


def _set_bias(
    graph: Any, layer: Any, bias: Array, codes: Array, step: Array, before: float | None
) -> tuple[Array, Array]:
    """Set a layer's bias, in multiples of the product of its steps; return codes and steps.

    A channel of weights that are tiny beside its bias gets a larger step, so that the bias fits
    into 32 bits.
    """
    name = f"{layer.outputs[0].name}_bias"
    if before is None:
        _set_input(layer, _constant(graph, name, bias.astype(np.float32)))
        return codes, step
    larger = np.maximum(step, np.maximum(abs(bias) / before / _MOST_BIAS, _LEAST_STEP))
    scale = (before * larger).astype(np.float32)
    stored = _constant(graph, name, np.rint(bias / scale).astype(np.int32))
    held = _constant(graph, f"{name}_steps", scale)
    _set_input(layer, _insert(layer, "DequantizeLinear", [stored, held], axis=0))
    return np.rint(codes * _by_row(step / larger, codes)), larger


def _by_row(values: Array, codes: Array) -> Array:
    return values.reshape(-1, *[1] * (codes.ndim - 1))


def _set_input(layer: Any, bias: Any) -> None:
    if len(layer.inputs) < 3:
        layer.resize_inputs(3)
    layer.replace_input_with(2, bias)


def _only_user(value: Any, kinds: tuple[str, ...]) -> Any:
    """Return the node that alone uses a value, if it is of one of the kinds."""
    users = list(value.consumers()) if len(value.uses()) == 1 else []
    return next((user for user in users if user.op_type in kinds), None)


def _array(value: Any) -> Any:
    """Return a constant as an array; None if it is none."""
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _constant(graph: Any, name: str, array: Array) -> Any:
    import onnx_ir

    value = onnx_ir.val(name, const_value=onnx_ir.tensor(array, name=name))
    graph.register_initializer(value)
    return value


def _insert(before: Any, kind: str, inputs: list[Any], **attributes: Any) -> Any:
    """Insert a node; return its result."""
    import onnx_ir

    node = onnx_ir.node(kind, inputs, attributes)
    before.graph.insert_before(before, node)
    return node.outputs[0]


def _replace(node: Any, value: Any) -> Any:
    """Let all that use a node's result use another value, and return this."""
    import onnx_ir

    result = node.outputs[0]
    value.dtype, value.shape = result.dtype, result.shape
    onnx_ir.convenience.replace_all_uses_with(result, value)
    return value
