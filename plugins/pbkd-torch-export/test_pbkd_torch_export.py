from __future__ import annotations

from pbkd_torch_export import TorchExporter, register_exporters

from pbkd.testing import check_exporter


def test_it_keeps_the_contract() -> None:
    check_exporter(TorchExporter())


def test_it_is_registered() -> None:
    assert register_exporters() == [TorchExporter]
