from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from pbkd.data import Augmentation, Split, batches, in_order
from pbkd.errors import DataError
from pbkd.imagefolder import ImageFolderSource


def everything(split: Split) -> torch.Tensor:
    return torch.cat([images for images, _ in in_order(split, 64)])


COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def paint(folder: Path, part: str, each: int) -> None:
    """Write `each` PNG files per class: its colour in the centre square, white at the sides."""
    for name, colour in COLOURS.items():
        (folder / part / name).mkdir(parents=True)
        for index in range(each):
            image = Image.new("RGB", (40, 20), "white")
            image.paste(colour, (10, 0, 30, 20))
            image.save(folder / part / name / f"{index}.png")


def centre_colours(split: Split) -> list[tuple[int, ...]]:
    return [tuple(image[:, 4, 4].tolist()) for image in everything(split)]


def colours(split: Split) -> list[tuple[int, ...]]:
    return [list(COLOURS.values())[label] for label in split.labels.tolist()]


def test_an_image_folder_is_resized_and_cropped_to_the_centre(tmp_path: Path) -> None:
    paint(tmp_path, "train", 6)
    paint(tmp_path, "test", 2)
    data = ImageFolderSource(str(tmp_path), size=10, validation=1 / 3).load()
    assert (data.num_classes, data.image_shape) == (3, (3, 10, 10))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 6, 6]
    for part in (data.train, data.validation, data.test):
        assert centre_colours(part) == colours(part)
        # Only the antialiased outermost columns may have taken in any of the white sides.
        inner = everything(part)[:, :, :, 1:-1]
        assert torch.equal(inner, inner[:, :, :1, :1].expand_as(inner))
    assert len(set(data.validation.labels.tolist())) > 1  # the listing is sorted by class


def test_without_test_the_val_folder_is_the_test_split(tmp_path: Path) -> None:
    paint(tmp_path, "train", 6)
    paint(tmp_path, "val", 3)
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.5).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [9, 9, 9]
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_with_both_the_val_folder_is_the_validation_split(tmp_path: Path) -> None:
    for part, each in (("train", 4), ("val", 1), ("test", 2)):
        paint(tmp_path, part, each)
    data = ImageFolderSource(str(tmp_path), size=8).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 3, 6]


def test_image_files_make_the_same_batches_again(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    data = ImageFolderSource(str(tmp_path), size=8, crop=2, flip=True, validation=0.25).load()
    first, second = (
        list(batches(data.train, 3, seed=0, epoch=0, augmentation=data.augment)) for _ in range(2)
    )
    assert len(first) == 3
    for (images, labels), (images_again, labels_again) in zip(first, second, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)


def test_grey_and_see_through_images_become_rgb(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 2)
    for mode in ("L", "LA", "P", "RGBA"):
        Image.new(mode, (12, 30)).save(tmp_path / "test" / "red" / f"{mode}.png")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.5).load()
    assert everything(data.test).shape == (10, 3, 8, 8)


@pytest.mark.parametrize("content", [b"", b"this is no image", None])
def test_a_corrupt_image_is_named(tmp_path: Path, content: bytes | None) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 2)
    broken = tmp_path / "test" / "red" / "1.png"
    truncated = broken.read_bytes()[:60]
    broken.write_bytes(truncated if content is None else content)
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.5).load()
    with pytest.raises(DataError, match=r"test/red/1\.png cannot be read"):
        everything(data.test)
    assert len(everything(data.train)) == 3


def test_an_image_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train' must hold one folder .* data\.path"):
        ImageFolderSource(str(tmp_path)).load()
    paint(tmp_path, "train", 2)
    with pytest.raises(DataError, match="neither val/ nor test/"):
        ImageFolderSource(str(tmp_path)).load()
    (tmp_path / "test" / "red").mkdir(parents=True)
    with pytest.raises(DataError, match="test' must hold one folder"):
        ImageFolderSource(str(tmp_path)).load()


def test_folders_with_different_classes_are_refused(tmp_path: Path) -> None:
    paint(tmp_path, "train", 2)
    paint(tmp_path, "test", 2)
    (tmp_path / "test" / "red").rename(tmp_path / "test" / "rouge")
    with pytest.raises(DataError, match="same class folders, but only one of them has 'red'"):
        ImageFolderSource(str(tmp_path), validation=0.5).load()


def test_corrupt_images_are_left_out_and_counted_where_that_is_wanted(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    broken = [tmp_path / "train" / "red" / "1.png", tmp_path / "test" / "blue" / "0.png"]
    broken[0].write_bytes(broken[0].read_bytes()[:60])
    broken[1].write_bytes(b"")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25, corrupt="skip").load()
    assert data.skipped == tuple(map(str, broken))
    assert len(data.train) + len(data.validation) == 11
    assert len(data.test) == 11
    for part_ in (data.train, data.validation, data.test):
        assert centre_colours(part_) == colours(part_)
    with pytest.raises(DataError, match="data.corrupt is 'ignore', but must be fail or skip"):
        ImageFolderSource(str(tmp_path), corrupt="ignore").load()


def test_a_corrupt_image_among_many_ends_training_with_its_name(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 8)
    (tmp_path / "train" / "red" / "3.png").write_bytes(b"no image")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.1).load()
    with pytest.raises(DataError, match=r"red/3\.png cannot be read .* data\.corrupt=skip"):
        list(batches(data.train, 4, seed=0, epoch=0, augmentation=Augmentation()))


def test_the_next_batch_is_decoded_while_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25).load()
    decoded = threading.Semaphore(0)
    images = type(data.train).images

    def watched(split: Split, indices: torch.Tensor) -> torch.Tensor:
        try:
            return images(split, indices)
        finally:
            decoded.release()

    monkeypatch.setattr(type(data.train), "images", watched)
    epoch = batches(data.train, 3, seed=0, epoch=0, augmentation=Augmentation())
    next(epoch)
    assert decoded.acquire(timeout=10)
    assert decoded.acquire(timeout=10), "the second batch is decoded though nobody asked for it"
    epoch.close()  # type: ignore[attr-defined]
