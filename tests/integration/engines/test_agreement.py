from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.integration.engines.agreement import FORMATS, agreements
from tests.integration.engines.predict import NEEDS, OTHERS, hide

PACKAGES = {
    "onnx": "onnxruntime", "onnx-int8": "onnxruntime", "openvino": "openvino",
    "openvino/onnx-int8": "openvino", "pt2e": "torchao", "executorch": "executorch",
    "executorch-int8": "executorch",
}  # fmt: skip


@pytest.mark.slow
def test_each_file_gives_the_classes_of_the_runs_test_where_its_engine_is_alone(
    finished: Path,
) -> None:
    installed = [name for name in FORMATS if find_spec(PACKAGES.get(name, "torch"))]
    found = agreements(finished, installed)
    assert list(found) and {*found} == {*installed}
    for name, one in found.items():
        least = 0.97 if "int8" in name or name == "pt2e" else 0.99
        assert one.agreement >= least, name
    if "onnx-int8" in found:
        assert found["onnx-int8"].bytes < found["onnx"].bytes
    if lacking := {PACKAGES[name] for name in FORMATS if name not in found}:
        pytest.skip(f"all others agree: no {', '.join(sorted(lacking))}")


def test_a_process_has_its_engine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    hide(OTHERS - NEEDS["openvino"])
    for package in ("torch", "pbkd", "onnxruntime"):
        monkeypatch.delitem(sys.modules, package, raising=False)
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{package}'"):
            import_module(package)
    assert import_module("wave")
