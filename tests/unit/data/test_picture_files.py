"""Which files below a folder are pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbkd.data.picture_files import list_folders, list_pictures
from pbkd.errors import DataError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path, _ in list_pictures(root).files]


def test_pictures_are_ordered_by_folder_and_name_as_torchvision_does(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a/2.JPG", "a/10.jpeg", "a-b/1.png", "a/deep/0.Png", "c.GIF")
    assert listed(tmp_path) == [
        "b.png",
        "c.GIF",
        "a/10.jpeg",
        "a/2.JPG",
        "a-b/1.png",
        "a/deep/0.Png",
    ]


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints/0-checkpoint.png", "._0.png", ".hidden/1.png", "@eaDir/0.jpg",
        "__MACOSX/a/0.png", "$RECYCLE.BIN/0.png", "a/.thumbs/0.png", "lost+found/0.png",
    ],
)  # fmt: skip
def test_hidden_and_system_files_are_left_out(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a/0.png", name)
    assert listed(tmp_path) == ["a/0.png"]
    assert list_folders(tmp_path) == ["a"]


def test_files_that_are_no_pictures_are_counted_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "a.txt", "b/a.TXT", "b/labels.csv", "README", "photo.heic")
    (tmp_path / "thumbs.png").mkdir()
    found = list_pictures(tmp_path)
    assert [Path(path).name for path, _ in found.files] == ["a.png"]
    assert found.left_out == {".txt": 2, ".csv": 1, "": 1, ".heic": 1}


def test_links_are_followed_and_known_as_links(tmp_path: Path) -> None:
    touch(tmp_path, "store/0.png", "store/1.png")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "to_folder").symlink_to(tmp_path / "store")
    (tmp_path / "own" / "to_file.png").symlink_to(tmp_path / "store" / "0.png")
    (tmp_path / "own" / "hard.png").hardlink_to(tmp_path / "store" / "0.png")
    (tmp_path / "own" / "broken.png").symlink_to(tmp_path / "nothing.png")
    found = {
        os.path.relpath(p, tmp_path / "own"): n for p, n in list_pictures(tmp_path / "own").files
    }
    zero = found["to_folder/0.png"]
    assert found["hard.png"] == found["to_file.png"] == zero
    assert len({zero, found["to_folder/1.png"], found["broken.png"]}) == 3
    assert list_folders(tmp_path / "own") == ["to_folder"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.png", "b/1.png")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "loop.png").symlink_to(tmp_path / "b" / "loop.png")
    found = list_pictures(tmp_path / "a")
    assert {Path(path).name for path, _ in found.files} == {"0.png", "1.png", "loop.png"}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "file.png")
    with pytest.raises(
        DataError, match=r"the folder '.*file\.png' cannot be read: Not a directory"
    ):
        list_pictures(tmp_path / "file.png")
