from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from pbkd.errors import RunFolderError
from pbkd.runs.folder import check_out, make_out, new_run_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_folder_is_named_after_the_teacher_and_the_time(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path / "deep" / "runs", "timm:hf/resnet10t.c3_in1k")
    assert folder.is_dir()
    name, _, stamp = folder.name.partition("c3_in1k-")
    assert name == "timm-hf-resnet10t."
    assert abs(time.mktime(time.strptime(stamp, "%Y%m%d-%H%M%S")) - time.time()) < 60


def test_run_folders_of_the_same_second_are_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbkd.runs.folder.time.strftime", lambda _format: "NOW")
    folders = [new_run_folder(tmp_path, "vgg") for _ in range(3)]
    assert [folder.name for folder in folders] == ["vgg-NOW", "vgg-NOW-1", "vgg-NOW-2"]


def test_latest_is_the_newest_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = new_run_folder(tmp_path, name)
        (folder / "mark").write_text(name)
        assert (tmp_path / "latest" / "mark").read_text() == name
        assert names(folder) == ["mark"]


def test_latest_is_found_again_after_its_run_was_deleted_or_all_runs_were_moved(
    tmp_path: Path,
) -> None:
    new_run_folder(tmp_path / "runs", "one").rmdir()
    folder = new_run_folder(tmp_path / "runs", "two")
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "latest").resolve().name == folder.name


def test_a_file_or_folder_that_happens_to_be_called_latest_stays(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("mine")
    assert new_run_folder(tmp_path, "one").is_dir()
    assert (tmp_path / "latest" / "mine").read_text() == "mine"


def test_a_run_needs_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert new_run_folder(tmp_path, "one").is_dir()


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    # Permissions do not stop root, so the test puts a file where a folder is needed.
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "runs"):
        with pytest.raises(RunFolderError, match=f"'{out}' cannot hold a run folder: "):
            new_run_folder(out, "vgg")


def test_a_folder_is_checked_without_creating_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for out in ("~/a/b", "~", str(tmp_path / "${x} 0123")):
        check_out(Path(out))
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("")
    for out in ("~/file", "~/file/a/b", f"~/{300 * 'x'}"):
        with pytest.raises(RunFolderError, match=f"'{tmp_path}/.*' cannot hold a run folder: "):
            check_out(Path(out))
    with pytest.raises(
        RunFolderError, match=r"r\\udcff' cannot hold runs: it is not named in UTF-8"
    ):
        check_out(Path("r\udcff"))
    assert make_out(Path("~/a/b")) == tmp_path / "a" / "b"
    assert names(tmp_path) == ["a", "file"]
