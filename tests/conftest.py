from __future__ import annotations

import os
from typing import TYPE_CHECKING

# As the command line does, before torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import pytest
import torch

from pbkd.config import load_config
from pbkd.prepare import Prepared, prepare
from pbkd.registry import Registry, build_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give every test the same threads, so that equal work gives equal bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def registry() -> Registry:
    return build_registry()


@pytest.fixture(scope="session")
def digits(registry: Registry) -> Prepared:
    """The digits teacher, its data and its chain."""
    return prepare(load_config(), registry, "cpu")


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """Overrides for a whole run of a few seconds."""
    return [
        f"out={tmp_path / 'runs'}",
        "threads=1",
        "distill.epochs=2",
        "distill.student_fed_epochs=1",
        "finetune.epochs=1",
        "meters=[]",
    ]
