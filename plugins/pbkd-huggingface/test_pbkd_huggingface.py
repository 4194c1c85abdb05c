from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pbkd.errors import DataError

# Importing the library takes seconds.
pytestmark = pytest.mark.slow
datasets = pytest.importorskip("datasets")

from pbkd_huggingface import HuggingFaceSource, register_data  # noqa: E402


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def picture(grey: int) -> dict[str, Any]:
    content = io.BytesIO()
    Image.new("L", (12, 9), grey).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def table(count: int, **columns: Any) -> Any:
    """`count` pictures of two classes, whose grey is the class times 200."""
    rows = {
        "picture": [picture(200 * (row % 2)) for row in range(count)],
        "kind": [row % 2 for row in range(count)],
        "number": list(range(count)),
        **columns,
    }
    features = {
        "picture": datasets.Image(),
        "kind": datasets.ClassLabel(names=["dark", "bright"]),
        "number": datasets.Value("int64"),
    }
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def check(split: Any, count: int) -> None:
    assert len(split) == count
    images = split.images(torch.arange(count))
    assert torch.equal(images[:, 0, 0, 0], (split.labels * 200).to(torch.uint8))


def test_the_source_is_registered() -> None:
    assert register_data() == [HuggingFaceSource]
    assert HuggingFaceSource.name == "huggingface"


def test_a_folder_of_save_to_disk_is_read_with_its_splits(tmp_path: Path) -> None:
    splits = {"train": table(20), "valid": table(6), "test": table(4)}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "stored"))
    data = HuggingFaceSource(str(tmp_path / "stored"), size=6, channels=1, crop=1).load()
    assert (data.class_names, data.num_classes) == (("dark", "bright"), 2)
    assert (data.name, data.image_shape) == ("huggingface", (1, 6, 6))
    assert data.augmentation.choice == {"name": "crop-flip", "crop": 1, "flip": False}
    for split, count in ((data.train, 20), (data.validation, 6), (data.test, 4)):
        check(split, count)
    named = HuggingFaceSource(str(tmp_path / "stored"), size=6, channels=1, train="valid").load()
    check(named.train, 6)


def test_parquet_files_are_read_and_missing_splits_cut_off(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table(40).to_parquet(str(tmp_path / "data" / "train.parquet"))
    source = HuggingFaceSource(str(tmp_path / "data"), size=6, channels=1, validation=0.25)
    data = source.load()
    check(data.train, 22)
    check(data.validation, 8)
    check(data.test, 10)
    unlabelled = HuggingFaceSource(str(tmp_path / "data"), labelled=False).load()
    assert (unlabelled.num_classes, unlabelled.class_names) == (None, None)
    number = HuggingFaceSource(str(tmp_path / "data"), label="number", size=4).load()
    assert number.num_classes == 40


def test_image_files_in_class_folders_are_read(tmp_path: Path) -> None:
    for name, grey in (("a", 0), ("b", 200)):
        (tmp_path / "files" / "train" / name).mkdir(parents=True)
        for index in range(10):
            path = tmp_path / "files" / "train" / name / f"{index}.png"
            path.write_bytes(picture(grey)["bytes"])
    data = HuggingFaceSource(str(tmp_path / "files"), size=4, channels=1).load()
    assert data.class_names == ("a", "b")
    check(data.train, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "nothing"}, "there is no folder 'nothing'"),
        ({"path": "empty"}, r"'empty' cannot be read by datasets \("),
        ({"train": "training"}, "has no split 'training', but test, train: set data.train"),
        ({"val": "dev"}, "has no split 'dev'"),
        ({"image": "pixels"}, "has no column 'pixels': set data.image to one of picture, kind"),
        ({"image": "kind"}, "the column 'kind' of 'stored' has no images"),
        ({"label": "species"}, "no column 'species': set data.label"),
        ({"size": 0}, "data.size is 0"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    datasets.DatasetDict({"train": table(20), "test": table(4)}).save_to_disk("stored")
    with pytest.raises(DataError, match=message) as caught:
        HuggingFaceSource(**{"path": "stored", **options}).load()
    assert "\n" not in str(caught.value)


def test_a_row_without_an_image_is_named(tmp_path: Path) -> None:
    rows = [picture(0), None, *(picture(0) for _ in range(18))]
    table(20, picture=rows).save_to_disk(str(tmp_path / "stored"))
    data = HuggingFaceSource(str(tmp_path / "stored"), size=4, validation=0.2).load()
    with pytest.raises(DataError, match="row 1 of the data has no image"):
        for split in (data.train, data.validation, data.test):
            split.images(torch.arange(len(split)))
