from __future__ import annotations

import sys

import pytest
from pbkd_executorch import ExecuTorchExporter, ExecuTorchInt8Exporter, register_exporters

from pbkd.errors import ExportError
from pbkd.testing import check_exporter

# A copy of this plugin has other names, but needs the same package.
_PACKAGE = "execu_torch".replace("_", "")
EXPORTERS: list[type[ExecuTorchExporter | ExecuTorchInt8Exporter]] = [
    ExecuTorchExporter,
    ExecuTorchInt8Exporter,
]


@pytest.mark.slow
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_it_keeps_the_contract(exporter: type[ExecuTorchExporter | ExecuTorchInt8Exporter]) -> None:
    pytest.importorskip(_PACKAGE, reason="needs pip install 'pbkd[executorch]'")
    check_exporter(exporter(most=20))


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_PACKAGE, f"{_PACKAGE}.backends.xnnpack.partition.xnnpack_partitioner"):
        monkeypatch.setitem(sys.modules, module, None)
    for exporter in EXPORTERS:
        with pytest.raises(
            ExportError, match=r"needs the package executorch: pip install 'pbkd\[execut"
        ):
            check_exporter(exporter())


def test_both_are_registered() -> None:
    assert register_exporters() == EXPORTERS
