"""Data of the user's own, from a function in the current folder, with mixed labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.errors import TrustError
from pbkd.pipeline.trust import open_run
from tests.command_line import Pbkd

MODULE = """
import torch

def load(count: int = 256, shake: bool = False):
    generator = torch.Generator()
    if not shake:
        generator.manual_seed(1)
    else:
        generator.seed()
    images = torch.randint(100, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 10
    images[torch.arange(count), 0, labels % 8] += 100
    return {"train": (images, labels), "test": (images[:20].clone() + 1, labels[:20])}
"""
QUICK = [
    "threads=1", "distill.epochs=1", "distill.student_fed_epochs=0", "finetune.epochs=1",
    "meters=[]", "target.block_drop=100", "allow_chance=true",
]  # fmt: skip


@pytest.mark.slow
def test_data_of_a_function_is_the_same_in_every_worker_and_known_on_resuming(
    pbkd: Pbkd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("state").absolute()))
    Path("own_rows.py").write_text(MODULE)
    choices = ["data=own_rows:load", "data.count=200", "augmentation=mixup", "augmentation.alpha=2"]
    ended = pbkd("run", *choices, "workers=2", *QUICK, "--quiet")
    assert ended.code == 0, ended.err
    (folder,) = (path for path in Path("runs").iterdir() if not path.is_symlink())
    config, registry = open_run(folder)  # by the record of the user's own runs
    assert config.data == {"name": "own_rows:load", "count": 200}
    assert "own_rows:load" in registry.functions
    folder.rename("moved")
    with pytest.raises(TrustError, match="names the function 'own_rows:load'"):
        open_run(Path("moved"))
    ended = pbkd("run", *choices, "data.shake=true", "workers=2", *QUICK)
    assert ended.code == 2
    assert (
        "gave other images or labels, or another order, to a worker than to the host" in ended.err
    )
