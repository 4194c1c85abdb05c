"""The pictures and classes of every split of an image folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from pbkd.data.folder_listing import Listing, list_splits
from pbkd.errors import DataError
from tests.unit.data.test_picture_files import touch


def labelled(root: Path) -> dict[str, Listing]:
    return list_splits({path.name: path for path in sorted(root.iterdir())}, labelled=True)


def test_files_and_classes_are_torchvisions(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        touch(
            tmp_path / split, "Zebra/1.png", "ant/2.JPG", "ant/10.png", "ant/sub/1.bmp", "10/0.png"
        )
        touch(tmp_path / split, "9/x.tiff", "9/a b.webp", "ant/x-y/0.png", "ant/x/0.png")
    found = labelled(tmp_path)["train"]
    wanted = ImageFolder(tmp_path / "train")
    assert [path for path, _ in found.files] == [path for path, _ in wanted.samples]
    assert list(found.labels) == wanted.targets
    assert list(found.classes) == wanted.classes
    assert found.notes == ()


def test_labels_of_every_split_are_those_of_the_training_classes(tmp_path: Path) -> None:
    touch(tmp_path / "train", "a/0.png", "b/0.png", "c/0.png")
    touch(tmp_path / "val", "a/0.png", "c/0.png", "c/1.png", "d/notes.txt")
    touch(tmp_path / "test", "c/0.png")
    (tmp_path / "test" / "b").mkdir()
    found = labelled(tmp_path)
    assert [list(found[name].labels) for name in ("train", "val", "test")] == [
        [0, 1, 2], [0, 2, 2], [2],
    ]  # fmt: skip
    assert "has no pictures of 2 of the 3 classes: a, b." in found["test"].notes[0]
    assert "1 file(s) below" in found["val"].notes[1]
    assert ".txt" in found["val"].notes[1]


def test_classes_without_pictures_or_unknown_to_training_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "train", "cat/0.png", "dog/0.png", "owl/list.txt")
    touch(tmp_path / "val", "cat/0.png")
    with pytest.raises(DataError, match=r"class folder '.*owl' holds no pictures"):
        labelled(tmp_path)
    touch(tmp_path / "train", "owl/0.png")
    touch(tmp_path / "val", "cats/0.png")
    with pytest.raises(DataError, match=r"class folder cats/, .* lack.* Did you mean 'cat'"):
        labelled(tmp_path)
    with pytest.raises(DataError, match="there are no pictures below"):
        list_splits({"train": tmp_path / "train", "val": tmp_path / "train" / "cat"}, labelled=True)


def test_no_link_to_a_training_picture_is_held_out(tmp_path: Path) -> None:
    touch(tmp_path / "train", "a/0.png", "a/1.png", "b/0.png")
    (tmp_path / "train" / "a" / "again.png").symlink_to(tmp_path / "train" / "a" / "1.png")
    (tmp_path / "train" / "b" / "more").symlink_to(tmp_path / "train" / "a")
    alone = labelled(tmp_path)["train"]
    assert [Path(path).name for path, _ in alone.files] == ["0.png", "1.png", "0.png"]
    assert alone.notes == ("Left out 4 picture(s) that are links to others.",)


def test_given_splits_keep_links_but_shared_pictures_are_noted(tmp_path: Path) -> None:
    touch(tmp_path / "train", "a/0.png", "b/0.png")
    (tmp_path / "train" / "a" / "again.png").symlink_to(tmp_path / "train" / "a" / "0.png")
    touch(tmp_path / "val", "a/7.png", "b/8.png")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a").symlink_to(tmp_path / "train" / "a")
    touch(tmp_path / "test", "b/9.png")
    found = labelled(tmp_path)
    assert len(found["train"].files) == 3
    assert "2 picture(s) in" in found["test"].notes[0]
    assert "are links to training pictures" in found["test"].notes[0]
    assert found["val"].notes == ()


def test_pictures_in_no_class_folder_are_noted(tmp_path: Path) -> None:
    touch(tmp_path / "train", "a/0.png", "b/0.png", "loose.png", ".DS_Store")
    (note,) = labelled(tmp_path)["train"].notes
    assert "Left out 1 picture(s) in" in note
