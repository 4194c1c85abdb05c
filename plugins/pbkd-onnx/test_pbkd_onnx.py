from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from pbkd_onnx import OnnxExporter, OnnxRuntime, register_engines, register_exporters

from pbkd.errors import ConfigError, ExportError
from pbkd.testing import check_engine, check_exporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from pbkd.protocols import ExportSubject

# A copy of this plugin has an engine of another name, but needs the same package.
_PACKAGE = "onnx_runtime".replace("_", "")


@pytest.mark.slow
def test_it_keeps_the_contract_with_the_version_of_the_operators_as_an_option() -> None:
    onnx = pytest.importorskip("onnx", reason="needs pip install 'pbkd[export]'")
    versions = []

    class Looking(OnnxExporter):
        def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
            versions.append(onnx.load(path).opset_import[0].version)
            return super().read(path, subject)

    check_exporter(Looking(opset=21))
    assert set(versions) == {21}


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"needs the package onnxscript: pip install 'pbkd\[exp"):
        check_exporter(OnnxExporter())


@pytest.mark.slow
def test_the_engine_keeps_the_contract() -> None:
    pytest.importorskip(_PACKAGE, reason="needs pip install 'pbkd[export]'")
    check_engine(OnnxRuntime())


def test_the_engine_tells_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, _PACKAGE, None)
    with pytest.raises(ConfigError) as error:
        check_engine(OnnxRuntime())
    assert str(error.value) == (
        "the engine onnxruntime needs the package onnxruntime: pip install 'pbkd[export]'."
    )


def test_both_are_registered() -> None:
    assert register_exporters() == [OnnxExporter]
    assert register_engines() == [OnnxRuntime]
