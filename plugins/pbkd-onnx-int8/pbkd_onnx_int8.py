"""ONNX files of 8-bit integers, by ONNX Runtime's static quantisation."""

from __future__ import annotations

import math
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pbkd_onnx import OnnxExporter

from pbkd import hookimpl
from pbkd.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from pbkd.protocols import Exporter, ExportImages, ExportSubject

PBKD_CONTRACT = 2

_AT_ONCE = 64
_RANKED = 128
"""Calibration images by which layers are ranked."""
_ONE_SIDED = 1.645
_LAYERS = ("Conv", "Gemm", "MatMul", "ConvTranspose")


@dataclass(frozen=True)
class OnnxInt8Exporter:
    """Write ONNX with 8-bit weights (per output channel) and activations (per tensor).

    The ranges of activations are their least and largest values on the run's training images.
    Layers stay in float, the most sensitive first, while the accuracy on the validation images is
    more than `max_drop` points below the float network's, and not by chance.

    Args:
        max_drop: Points of validation accuracy that the integers may cost.
        reduce_range: Whether weights get 7 bits, for processors without VNNI instructions, where
            sums of 8-bit products can overflow.
        opset: Version of the ONNX operators; None for torch's default.
    """

    name: ClassVar[str] = "onnx-int8"
    suffix: ClassVar[str] = ".int8.onnx"
    float_format: ClassVar[str] = "onnx"
    max_drop: float = 0.25
    reduce_range: bool = False
    opset: int | None = None

    def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], str]:
        """Write the network, and say which layers stay in float.

        Args:
            subject: The network, and images of the run.
            path: The file.

        Returns:
            The file, and the remark.

        Raises:
            ExportError: A package is missing, or the network has been quantised already.
        """
        assert subject.images is not None
        with TemporaryDirectory() as folder, _needed():
            quantiser = _Quantiser(self, subject, Path(folder))
            best, accuracy = _accurate(quantiser, subject.images, self.max_drop)
            path.write_bytes(_compact(best.model).SerializeToString())
        return [path], _remark(quantiser.layers, best.kept, accuracy)

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
        """Open the file in ONNX Runtime, on the CPU.

        Raises:
            ExportError: The package onnxruntime is missing.
        """
        return OnnxExporter().read(path, subject)


class _Quantiser:
    """Quantises one network, whose activations it measured once.

    Attributes:
        layers: The names of the layers' weights, by the name of their node.
        plain: The float network with BatchNorm folded in.
    """

    def __init__(self, exporter: OnnxInt8Exporter, subject: ExportSubject, folder: Path) -> None:
        import onnx
        from onnxruntime.quantization import QuantType, create_calibrator
        from onnxruntime.quantization.registry import QDQRegistry
        from onnxruntime.quantization.shape_inference import quant_pre_process

        assert subject.images is not None
        written, folded = folder / "float.onnx", folder / "folded.onnx"
        OnnxExporter(opset=exporter.opset).write(subject, written)
        if any(node.op_type == "QuantizeLinear" for node in onnx.load(written).graph.node):
            raise ExportError(
                "the student has been quantised in training: its format is onnx, which keeps its"
                " integers."
            )
        quant_pre_process(written, folded, skip_symbolic_shape=True)
        self.plain: Any = onnx.load(folded)
        self.layers = _layers(self.plain)
        self._name = subject.input_name
        self._operators = list(QDQRegistry)
        self._types = QuantType.QInt8, QuantType.QUInt8
        self._reduce_range = exporter.reduce_range
        with redirect_stdout(StringIO()):
            calibrator = create_calibrator(
                folded, self._operators, augmented_model_path=str(folder / "augmented.onnx")
            )
            calibrator.collect_data(_Batches(subject.images.calibration, self._name))
            self._ranges = calibrator.compute_data()

    def quantised(self, kept: list[str], only: list[str] | None = None) -> Any:
        """Return the network with integers in all nodes but those `kept`, or in `only` some."""
        from onnx import ModelProto
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        model = ModelProto()
        model.CopyFrom(self.plain)
        weights, activations = self._types
        quantiser = QDQQuantizer(
            model, True, self._reduce_range, weights, activations, self._ranges, only or [], kept,
            self._operators, {},
        )  # fmt: skip
        quantiser.quantize_model()
        quantiser.model.topological_sort()
        return quantiser.model.model

    def logits(self, model: Any, images: Tensor) -> Tensor:
        """Compute the logits of images, (N, classes), in ONNX Runtime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = [session.run(None, batch)[0] for batch in _Batches(images, self._name)]
        return torch.cat([torch.from_numpy(logits) for logits in found])


class _Batches:
    """Batches of images as ONNX Runtime takes them; its calibration asks for `get_next`."""

    def __init__(self, images: Tensor, name: str) -> None:
        starts = range(0, len(images), _AT_ONCE)
        self._batches = iter({name: images[i : i + _AT_ONCE].numpy()} for i in starts)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._batches

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)


@dataclass(frozen=True)
class _Found:
    """A quantised model.

    Attributes:
        model: The model.
        kept: The nodes that stay in float.
        correct: Whether each validation image is classified correctly, (images,).
    """

    model: Any
    kept: list[str]
    correct: Tensor


def _accurate(quantiser: _Quantiser, images: ExportImages, max_drop: float) -> tuple[_Found, str]:
    """Quantise all layers but those that the accuracy needs; say what it is."""

    def correct(model: Any) -> Tensor:
        return quantiser.logits(model, images.validation).argmax(1) == images.classes

    def found(kept: list[str]) -> _Found:
        model = quantiser.quantised(kept)
        return _Found(model, kept, correct(model))

    before = correct(quantiser.plain)
    best = found([])
    if _loses(before, best.correct, max_drop):
        ranked = _ranked(quantiser, images.calibration[:_RANKED])
        for size in _sizes(len(ranked)):
            best = max(best, found(ranked[:size]), key=lambda one: int(one.correct.sum()))
            if not _loses(before, best.correct, max_drop):
                break
    shares = [f"{100 * float(part.double().mean()):.2f} %" for part in (before, best.correct)]
    return best, (
        f"of {len(before):,} validation images, {shares[0]} in float and {shares[1]} as written are"
        " classified correctly"
    )


def _loses(before: Tensor, after: Tensor, max_drop: float) -> bool:
    """Whether more than `max_drop` points are lost, and not by chance alone.

    The test is McNemar's, one-sided at 95 %: of the images that one network alone classifies
    correctly, each would be either's with the same probability.
    """
    lost, gained = int((before & ~after).sum()), int((after & ~before).sum())
    by_chance = _ONE_SIDED * math.sqrt(lost + gained)
    return lost - gained > max(max_drop / 100 * len(before), by_chance)


def _sizes(layers: int) -> list[int]:
    """How many layers to try in float: 1, 2, 4 … up to half of them."""
    return [2**power for power in range(layers.bit_length()) if 2 * 2**power <= layers]


def _ranked(quantiser: _Quantiser, images: Tensor) -> list[str]:
    """Sort layers by the error of the logits if one alone is quantised, the largest first."""
    wanted = quantiser.logits(quantiser.plain, images)

    def error(node: str) -> float:
        logits = quantiser.logits(quantiser.quantised([], [node]), images)
        return float((logits - wanted).square().sum())

    return sorted(quantiser.layers, key=error, reverse=True)


def _layers(model: Any) -> dict[str, str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: node.input[1].removesuffix(".weight")
        for node in model.graph.node
        if node.op_type in _LAYERS and node.input[1] in weights
    }


def _compact(model: Any) -> Any:
    """Shorten the names of inner tensors, not of layers; store equal tensors once, zero not at all.

    The weights and biases of convolutions are symmetric, so that their zero points are zero.
    """
    graph = model.graph
    made = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        for name in node.input[1:] if node.op_type.startswith("Conv") else ():
            if name in made:
                del made[name].input[2:]
    used = {name for node in graph.node for name in node.input}
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    fresh = (f"t{number}" for number in count())
    stored: dict[bytes, str] = {}
    tensors = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:], graph.value_info[:]
    for tensor in tensors:
        name, tensor.name = tensor.name, ""
        content = tensor.SerializeToString()
        if content not in stored:
            tensor.name = stored[content] = next(fresh)
            graph.initializer.append(tensor)
        names[name] = stored[content]
    for node in graph.node:
        for tied in (node.input, node.output):
            tied[:] = [names.setdefault(name, next(fresh)) for name in tied]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.name = ""
    return model


def _remark(layers: dict[str, str], kept: list[str], accuracy: str) -> str:
    if not kept:
        return f"All {len(layers)} layers are of 8-bit integers: {accuracy}."
    stay = "stays" if len(kept) == 1 else "stay"
    names = ", ".join(layers[node] for node in kept)
    return (
        f"{len(kept)} of {len(layers)} layers {stay} in float, as the accuracy needs it ({names}):"
        f" {accuracy}."
    )


@contextmanager
def _needed() -> Iterator[None]:
    """Say which package is missing."""
    try:
        yield
    except ImportError as error:
        raise ExportError(
            f"'onnx-int8' needs the package {error.name}: pip install 'pbkd[export]'."
        ) from error


@hookimpl
def register_exporters() -> list[type[Exporter]]:
    """Register the exporter `onnx-int8`."""
    return [OnnxInt8Exporter]
