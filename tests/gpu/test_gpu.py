"""The parts of the check that need no more than this process; `check.sh` runs them all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gpu.parts import PARTS, Card, Part
from tests.gpu.run_parts import run_part


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU on this machine")
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_it_holds_on_the_gpu(part: Part, tmp_path: Path) -> None:
    assert run_part(part, Card("cuda", tmp_path, tmp_path)).line
