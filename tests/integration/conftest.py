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


@pytest.fixture(autouse=True)
def students_load_in_this_process(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start no interpreter to load the student of each run with a plugin of a test's own.

    tests/integration/pipeline/test_loading_check.py does so, and the plugins beside the wheel.
    """
    if "test_loading_check" not in request.node.nodeid:
        monkeypatch.setattr("pbkd.pipeline.loading_check._is_foreign", lambda *_: False)


@pytest.fixture
def unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no workers share batches, which rounds otherwise, however slow the machine is."""
    monkeypatch.setattr("pbkd_pipeline._sizes", lambda _costs, _workers: [1])


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
