from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from pbkd.runs.folder import newest_run
from tests.made_once import made_once
from tests.soak.short_run import undisturbed as undisturbed_run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path, as sockets need it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run by one worker that nobody kills, for the kill tests."""

    def make(out: Path) -> None:
        torch.set_num_threads(1)
        undisturbed_run(out)

    return newest_run(made_once(tmp_path_factory, "undisturbed", make))
