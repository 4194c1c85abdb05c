from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pbkd_pytorch import PyTorchExporter, SafetensorsExporter, register_exporters
from torch import Tensor, nn

from pbkd.errors import ExportError
from pbkd.testing import check_exporter

if TYPE_CHECKING:
    from pbkd.protocols import Exporter


class Branches(nn.Module):
    """A network that cannot be written as code: it depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        logits: Tensor = self.linear(flat) if float(flat.sum()) < 1e9 else flat
        return logits


@pytest.mark.parametrize("exporter", [PyTorchExporter(), SafetensorsExporter()])
def test_they_keep_the_contract(exporter: Exporter) -> None:
    check_exporter(exporter)


def test_a_network_that_is_no_code_has_its_weights_written() -> None:
    check_exporter(SafetensorsExporter(), Branches())
    with pytest.raises(ExportError, match="cannot be written as plain PyTorch code"):
        check_exporter(PyTorchExporter(), Branches())


def test_they_are_registered() -> None:
    assert register_exporters() == [PyTorchExporter, SafetensorsExporter]
