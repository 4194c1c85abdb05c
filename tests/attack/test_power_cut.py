"""A power cut after any sync of a run: what survives is whole, and the run goes on from it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open

from pbkd.config.load import load_config
from pbkd.core.files import read_json
from pbkd.pipeline.run import run
from pbkd.runs.configuration import configuration_file
from pbkd.runs.folder import newest_run
from pbkd.runs.progress import finished_blocks
from tests.attack.power_cut import Disk, Image

if TYPE_CHECKING:
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="descriptors have no paths here")


@pytest.fixture(scope="module")
def recorded(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunResult, list[Image]]:
    """A run with a checkpoint after every epoch, and what a power cut leaves after each sync."""
    out = tmp_path_factory.mktemp("disk")
    disk = Disk(out)
    settings = [
        f"out={out}", "threads=1", "distill.epochs=2", "distill.student_fed_epochs=2",
        "finetune.epochs=2", "batch_size=256", "data.crop=0", "meters=[]",
        "keep=[stem*,head*,conv1*,conv2*,conv3_1]",
    ]  # fmt: skip
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
        with disk.recording():
            result = run(load_config(settings), registry)
    return result, disk.images


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file of weights of a run."""
    files = [path for path in folder.rglob("*.safetensors") if "checkpoints" not in path.parts]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def check_whole(path: Path) -> None:
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            assert file.metadata().keys() & {"sha256", "checksum"}, path
    elif path.suffix == ".json":
        read_json(path)
    elif path.name == "config.yaml":
        configuration_file(path.parent)


@pytest.mark.parametrize("entries", ["synced", "seen"])
def test_what_survives_at_any_moment_is_whole(
    recorded: tuple[RunResult, list[Image]], tmp_path: Path, entries: str
) -> None:
    _, images = recorded
    assert len(images) > 30
    known: set[tuple[str, bytes]] = set()
    for moment, image in enumerate(images):
        out = image.restore(tmp_path / str(moment), entries=entries)
        for path in out.rglob("*"):
            if path.is_symlink() or not path.is_file() or ".partial" in path.name:
                continue
            once = path.name, path.read_bytes()
            if once not in known:
                known.add(once)
                check_whole(path)
        assert not image.lost_folders()
        for identity in out.glob("*/identity.json"):
            folder = identity.parent
            names = read_json(folder / "initial" / "checksums.json")
            assert names
            assert all((folder / "initial" / f"{name}.safetensors").is_file() for name in names)


def test_no_checkpoint_is_deleted_before_the_result_in_its_place_is_on_disk(
    recorded: tuple[RunResult, list[Image]], tmp_path: Path
) -> None:
    later = []
    for moment, image in enumerate(moments(recorded)):
        folder = newest_run(image.restore(tmp_path / str(moment), entries="seen"))
        checkpoints = folder / "checkpoints" / "teacher-fed"
        if (folder / "student-fed").is_dir() and not checkpoints.exists():
            later.append(finished_blocks(folder, "teacher-fed"))
    assert later
    assert all(later)


def moments(recorded: tuple[RunResult, list[Image]]) -> list[Image]:
    """Return what survives after each sync from which the run can be resumed."""
    _, images = recorded
    return [image for image in images if any("identity.json" in e for e in image.synced.values())]


@pytest.mark.parametrize(
    ("part", "entries"),
    [
        (0.35, "synced"),
        (0.75, "seen"),
        *(
            pytest.param(part / 10, entries, marks=pytest.mark.slow)
            for part, entries in enumerate(["seen", "synced"] * 5)
        ),
    ],
)
def test_a_run_goes_on_after_a_power_cut(
    recorded: tuple[RunResult, list[Image]],
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: float,
    entries: str,
) -> None:
    monkeypatch.setattr("pbkd.training.checkpoint.STEPS_BETWEEN", 1)
    undisturbed, images = recorded[0], moments(recorded)
    out = images[int(part * len(images))].restore(tmp_path / "disk", entries=entries)
    folder = newest_run(out)
    result = run(load_config([f"out={out}"], file=folder / "config.yaml"), registry, resume=folder)
    assert digests(folder) == digests(Path(undisturbed.folder))
    assert result.accuracies == undisturbed.accuracies
