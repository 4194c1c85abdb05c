from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from pbkd.core.files import write_json
from pbkd.errors import PbkdError, RunFolderError, ZooError
from pbkd.models.weights import read_weights, write_weights
from pbkd.report.hub import hub_readme
from pbkd.zoo.add import add_student
from pbkd.zoo.card import read_card

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def refused(kind: type[PbkdError], registry: Registry, run: Path, zoo: Path) -> str:
    before = sorted(zoo.iterdir())
    with pytest.raises(kind) as caught:
        add_student(registry, run, zoo)
    assert sorted(zoo.iterdir()) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "file",
    [
        "README.md", "config.yaml", "result.json", "checksums.json", "student/config.json",
        "student/model.safetensors",
    ],
)  # fmt: skip
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "folder"])
def test_damage_is_refused_and_leaves_nothing(
    registry: Registry, copied: Path, zoo: Path, file: str, damage: str
) -> None:
    path = copied / file
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":
            path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        case "folder":
            path.mkdir()
    assert str(copied) in refused(PbkdError, registry, copied, zoo)


def test_a_file_of_another_run_is_refused(registry: Registry, copied: Path, zoo: Path) -> None:
    weights = copied / "student" / "model.safetensors"
    write_weights(weights, {**read_weights(weights), "another": torch.ones(1)})
    assert "is not as the run wrote it" in refused(RunFolderError, registry, copied, zoo)
    write_json(copied / "result.json", {"teacher": {"name": "x"}})
    assert "is not a result of this version" in refused(RunFolderError, registry, copied, zoo)


def test_a_failure_in_the_middle_leaves_nothing(
    registry: Registry, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pbkd.zoo.publication.hub_readme", fail)
    with pytest.raises(ZooError, match="cannot be written: No space left on device"):
        add_student(registry, finished, tmp_path / "new" / "zoo")
    assert not (tmp_path / "new" / "zoo").exists()


def test_one_of_two_that_add_a_name_at_once_is_refused(
    registry: Registry, finished: Path, zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*arguments: Any) -> str:
        monkeypatch.undo()
        monkeypatch.setenv("PBKD_ZOO", str(zoo))
        add_student(registry, finished, zoo, name="small", licence="MIT")
        return hub_readme(*arguments)

    monkeypatch.setattr("pbkd.zoo.publication.hub_readme", second)
    with pytest.raises(ZooError, match="cannot be written"):
        add_student(registry, finished, zoo, name="small")
    assert [path.name for path in zoo.iterdir()] == ["small"]
    assert read_card(zoo / "small" / "card.yaml").licence == "MIT"
