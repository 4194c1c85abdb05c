from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from pbkd_pt2e import Inductor, Pt2eExporter, register_engines, register_exporters

from pbkd.errors import ConfigError, ExportError
from pbkd.testing import check_engine, check_exporter

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.protocols import ExportSubject


@pytest.mark.slow
def test_it_keeps_the_contract_and_saves_no_float_weights() -> None:
    pytest.importorskip("torchao", reason="needs pip install 'pbkd[pt2e]'")
    sizes = []

    class Looking(Pt2eExporter):
        def write(self, subject: ExportSubject, path: Path) -> tuple[list[Path], None]:
            written = super().write(subject, path)
            floats = sum(4 * tensor.numel() for tensor in subject.network.state_dict().values())
            with zipfile.ZipFile(path) as file:
                names = [each for each in file.infolist() if "/weights/weight_" in each.filename]
            sizes.append(sum(each.file_size for each in names) / floats)
            assert b"site-packages" not in path.read_bytes()
            return written

    check_exporter(Looking())
    assert max(sizes) < 0.5


@pytest.mark.slow
def test_the_engine_keeps_the_contract() -> None:
    check_engine(Inductor())


def test_a_missing_package_or_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torchao", "torchao.quantization.pt2e.quantize_pt2e"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExportError, match=r"needs the package torchao: pip install 'pbkd\[pt2e"):
        check_exporter(Pt2eExporter())
    monkeypatch.setenv("CXX", "no-compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-compiler",))
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler, such as g\+\+: install one\.$"):
        check_engine(Inductor())


def test_both_are_registered() -> None:
    assert register_exporters() == [Pt2eExporter]
    assert register_engines() == [Inductor]
