from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pbkd_onnx import OnnxExporter
from pbkd_onnx_int8 import OnnxInt8Exporter, register_exporters

from pbkd.errors import ExportError
from pbkd.protocols import ExportImages, ExportSubject
from pbkd.testing import check_exporter

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_PACKAGE = "onnx_runtime".replace("_", "")


@pytest.fixture
def onnx(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, and a float export of a network of two layers that takes no time.

    Each output channel of the second has one weight that is a million times as large as the others,
    for a value that is always zero: 8 bits per channel hold it alone.
    """
    pytest.importorskip(_PACKAGE, reason="needs pip install 'pbkd[export]'")
    onnx = pytest.importorskip("onnx")
    generator = np.random.default_rng(0)
    first = np.eye(64, dtype=np.float32)
    second = generator.normal(size=(64, 4)).astype(np.float32)
    second[0] = 1e6
    make = onnx.helper
    shape = ["batch", 64]
    graph = make.make_graph(
        [
            make.make_node("MatMul", ["images", "first.weight"], ["inner"], "one"),
            make.make_node("MatMul", ["inner", "second.weight"], ["logits"], "two"),
        ],
        "network",
        [make.make_tensor_value_info("images", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 4])],
        [
            onnx.numpy_helper.from_array(weight, f"{name}.weight")
            for name, weight in (("first", first), ("second", second))
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=10)

    def write(_self: Any, _subject: ExportSubject, path: Path) -> None:
        onnx.save(model, path)

    monkeypatch.setattr(OnnxExporter, "write", write)
    return onnx


def subject(classes: Tensor, images: Tensor) -> Any:
    found = ExportImages(calibration=images, validation=images, classes=classes)
    return type("Subject", (), {"images": found, "input_name": "images"})


def test_layers_stay_in_float_only_where_the_accuracy_needs_it(onnx: Any, tmp_path: Path) -> None:
    images = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    images[:, 0] = 0
    OnnxExporter().write(subject(torch.zeros(256), images), tmp_path / "float.onnx")
    classes = OnnxExporter().read(tmp_path / "float.onnx", subject(torch.zeros(1), images))(images)
    right = subject(classes.argmax(1), images)
    notes, agreed = {}, {}
    for most in (100, 2):
        path = tmp_path / f"{most}.onnx"
        exporter = OnnxInt8Exporter(max_drop=most)
        _, notes[most] = exporter.write(right, path)
        found = exporter.read(path, right)(images).argmax(1)
        agreed[most] = (found == right.images.classes).double().mean()
    assert notes[100].startswith("All 2 layers are of 8-bit integers: of 256 validation images")
    assert notes[2].startswith("1 of 2 layers stays in float, as the accuracy needs it (second)")
    assert agreed[100] < 0.9 < 0.98 <= agreed[2]
    nodes = [node.op_type for node in onnx.load(tmp_path / "100.onnx").graph.node]
    assert {"QuantizeLinear", "DequantizeLinear"} <= {*nodes}


@pytest.mark.slow
def test_it_keeps_the_contract() -> None:
    pytest.importorskip(_PACKAGE, reason="needs pip install 'pbkd[export]'")
    check_exporter(OnnxInt8Exporter())


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"'onnx-int8' needs the package onnx: pip install 'pbkd"):
        check_exporter(OnnxInt8Exporter())


def test_it_is_registered() -> None:
    assert register_exporters() == [OnnxInt8Exporter]
