"""Runs that are as short as they can be, and what they leave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pbkd_pipeline

from pbkd.config.load import load_config
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.training import checkpoint
from tests.few_digits import few_digits

__all__ = ["UNSHARED", "digests", "restored", "settings", "tiny_settings", "undisturbed"]

# Every process of a run loads its plugins. Whether several workers share the batches of a relay's
# stage, whose sums then round differently, depends on measured costs, and so on what else the
# machine does: with this plugin none do.
UNSHARED = """
import pbkd_pipeline
from pbkd import hookimpl

pbkd_pipeline._sizes = lambda _costs, _workers: [1]

@hookimpl
def register_builders():
    return []
"""

_OFTEN = (
    UNSHARED
    + """
from pbkd.training import checkpoint

checkpoint.STEPS_BETWEEN = 1
"""
)


def settings(out: Path) -> list[str]:
    """Return overrides for a short run, with checkpoints at every epoch."""
    return [
        *_common(out), "distill.epochs=6", "distill.student_fed_epochs=4",
        "finetune.epochs=1",
        "batch_size=128",
    ]  # fmt: skip


def tiny_settings(out: Path) -> list[str]:
    """Return overrides for a run of a second: four blocks, 150 images, few epochs."""
    common = _common(out)
    return [
        *common, "teacher=digits-vgg", *few_digits(out, training=150), "batch_size=50",
        "keep=[head*,conv1*]", "distill.epochs=4", "distill.student_fed_epochs=4",
        "finetune.epochs=2",
    ]  # fmt: skip


def _common(out: Path) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    plugin = out / "often.py"
    plugin.write_text(_OFTEN)
    return [f"out={out}", f"plugins=[{plugin}]", "threads=1", "data.crop=0", "meters=[]"]


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file of weights that a run leaves."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.safetensors")
    }


def undisturbed(out: Path) -> dict[str, str]:
    """Return the digests of what one worker gives, left alone."""
    config = load_config(settings(out))
    with restored():
        return digests(Path(run(config, build_registry(config.plugins)).folder))


@contextmanager
def restored() -> Iterator[None]:
    """Undo what the plugin of short runs changes in this process."""
    with (
        patch.object(checkpoint, "STEPS_BETWEEN", checkpoint.STEPS_BETWEEN),
        patch.object(pbkd_pipeline, "_sizes", pbkd_pipeline._sizes),
    ):
        yield
