from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pbkd_imagefolder import ImageFolderSource
from PIL import Image
from torchvision.transforms._presets import ImageClassification

from pbkd.data.augmentation import Augmentation
from pbkd.data.batching import shuffled_batches, shuffled_rows
from pbkd.data.datasets import Split
from pbkd.data.fixed_views import with_fixed_views
from pbkd.data.image_decoding import ImageDecoder
from pbkd.errors import DataError
from tests.unit.data.augmenting import created
from tests.unit.data.reading import everything

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


def test_a_limit_takes_some_pictures_of_all_classes(tmp_path: Path) -> None:
    for part, each in (("train", 8), ("val", 1), ("test", 1)):
        paint(tmp_path, part, each)
    data = ImageFolderSource(str(tmp_path), size=8, train_limit=6).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 3, 3]
    assert set(data.train.labels.tolist()) == {0, 1, 2}
    shutil.rmtree(tmp_path / "val")
    data = ImageFolderSource(str(tmp_path), size=8, train_limit=12, validation=0.25).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [9, 3, 3]


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
        list(
            shuffled_batches(
                data.train, 3, seed=0, epoch=0, augmentation=created(data.augmentation)
            )
        )
        for _ in range(2)
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


def test_missing_splits_are_held_out_and_noted(tmp_path: Path) -> None:
    paint(tmp_path, "train", 4)
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [7, 2, 3]
    assert data.class_names == ("blue", "green", "red")
    (note,) = data.notes
    assert "3 of the pictures are held out for testing and 2 for validation" in note
    for part_ in (data.train, data.validation, data.test):
        assert centre_colours(part_) == colours(part_)


def test_names_that_are_not_utf_8_can_be_written_into_reports(tmp_path: Path) -> None:
    paint(tmp_path, "train", 4)
    try:
        (tmp_path / "train" / "red").rename(tmp_path / "train" / os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25).load()
    assert data.class_names == ("blue", "caf?", "green")
    assert len(everything(data.train)) == 7


def test_a_split_may_lack_a_class(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 2)
    shutil.rmtree(tmp_path / "test" / "blue")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.5).load()
    assert data.num_classes == 3
    assert data.test.labels.tolist() == [1, 1, 2, 2]
    assert any("no pictures of 1 of the 3 classes: blue." in note for note in data.notes)


def test_corrupt_images_are_left_out_and_counted_where_that_is_wanted(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    broken = [tmp_path / "train" / "red" / "1.png", tmp_path / "test" / "blue" / "0.png"]
    broken[0].write_bytes(broken[0].read_bytes()[:60])
    broken[1].write_bytes(b"")
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25, corrupt="skip").load()
    assert data.skipped_files == tuple(map(str, broken))
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
        list(shuffled_batches(data.train, 4, seed=0, epoch=0, augmentation=Augmentation()))


def test_the_next_batch_is_decoded_while_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    data = ImageFolderSource(str(tmp_path), size=8, validation=0.25).load()
    decoded = threading.Semaphore(0)
    read = ImageDecoder.read

    def watched(frame: ImageDecoder, path: str, seed: int | None = None) -> torch.Tensor:
        try:
            return read(frame, path, seed)
        finally:
            decoded.release()

    monkeypatch.setattr(ImageDecoder, "read", watched)
    epoch = shuffled_batches(data.train, 3, seed=0, epoch=0, augmentation=Augmentation())
    next(epoch)
    for _ in range(6):
        assert decoded.acquire(timeout=10), "the second batch is decoded though nobody asked for it"
    epoch.close()  # type: ignore[attr-defined]


def test_random_parts_depend_on_seed_phase_epoch_and_row_alone(tmp_path: Path) -> None:
    """Pictures are a ramp of grey, so that a part tells what it was cut from."""
    for part in ("train", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for index in range(4):
                ramp = np.arange(40 * 30).reshape(40, 30) % 251
                picture = Image.fromarray(ramp.astype(np.uint8))
                picture.save(tmp_path / part / name / f"{index}.png")

    def parts(epoch: int, batch_size: int) -> dict[int, torch.Tensor]:
        source = ImageFolderSource(str(tmp_path), size=8, channels=1, validation=0.25, area=0.25)
        data = source.load()
        order = shuffled_rows(data.train, batch_size, seed=1, epoch=epoch, phase="fit")
        read = shuffled_batches(
            data.train,
            batch_size,
            seed=1,
            epoch=epoch,
            augmentation=created(data.augmentation),
            phase="fit",
        )
        rows = torch.cat(list(order)).tolist()
        return dict(zip(rows, torch.cat([images for images, _ in read]), strict=True))

    by_twos, by_sixes, later = parts(0, 2), parts(0, 6), parts(1, 6)
    assert by_twos.keys() == by_sixes.keys() == later.keys()
    assert all(torch.equal(by_twos[row], by_sixes[row]) for row in by_twos)
    assert not any(torch.equal(later[row], by_sixes[row]) for row in later)
    assert len({tuple(part.flatten().tolist()) for part in by_sixes.values()}) == len(by_sixes)


def test_views_of_random_parts_are_drawn_once(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    source = ImageFolderSource(str(tmp_path), size=8, validation=0.25, area=0.2, flip=True)
    seen = with_fixed_views(source.load(), 3, seed=0).train
    assert len(seen) == 27
    whole = everything(seen)
    assert torch.equal(seen.images(torch.tensor([20, 2])), whole[[20, 2]])
    assert not torch.equal(whole[:9], whole[9:18])


def test_images_without_labels_are_found_wherever_they_are(tmp_path: Path) -> None:
    paint(tmp_path / "deep", "down", 10)
    (tmp_path / "notes.txt").write_text("no image")
    data = ImageFolderSource(str(tmp_path), size=8, labelled=False, validation=0.2).load()
    assert (data.num_classes, data.labelled, data.score_name) == (
        None, False, "agreement with the teacher",
    )  # fmt: skip
    assert [len(part) for part in (data.train, data.validation, data.test)] == [19, 5, 6]
    assert len(everything(data.train)) == 19


def test_images_without_labels_may_be_split_by_folders(tmp_path: Path) -> None:
    for part, each in (("train", 4), ("val", 1), ("test", 2)):
        paint(tmp_path, part, each)
    data = ImageFolderSource(str(tmp_path), size=8, labelled=False).load()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 3, 6]
    assert data.test.labels.tolist() == [-1] * 6
    with pytest.raises(DataError, match="there is no folder"):
        ImageFolderSource(str(tmp_path / "nowhere"), labelled=False).load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "data.size is 0, but must be at least 1 pixel"),
        ({"channels": 2}, r"data.channels is 2, but must be 1 \(grey\) or 3"),
        ({"crop_pct": 0.0}, "data.crop_pct is 0.0, but must be above 0"),
        ({"area": 1.5}, "data.area is 1.5, but must be above 0 and at most 1"),
        ({"interpolation": "cubic"}, "data.interpolation is 'cubic', but must be one of nearest"),
        ({"workers": -1}, "data.workers is -1, but must be 0 or more"),
    ],
    ids=str,
)
def test_options_out_of_range_are_told(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 2)
    with pytest.raises(DataError, match=message):
        ImageFolderSource(str(tmp_path), **options).load()


def test_the_centre_is_the_one_that_torchvision_scores_on(tmp_path: Path) -> None:
    picture = Image.fromarray(
        np.random.RandomState(0).randint(0, 256, (50, 70, 3)).astype(np.uint8)
    )
    picture.save(tmp_path / "picture.png")
    # torchvision's own preset resizes PIL images as this does; it then turns them into floats.
    preset = ImageClassification(crop_size=24, resize_size=32, antialias=True)
    preset.mean, preset.std = [0.0] * 3, [1.0] * 3
    mine = ImageDecoder(24, crop_pct=24 / 32).read(str(tmp_path / "picture.png"))
    assert torch.equal(mine, (preset(picture) * 255).round().to(torch.uint8))
