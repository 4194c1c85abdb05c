"""Images of a folder that Hugging Face's library `datasets` reads, decoded on demand."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pbkd import hookimpl
from pbkd.data import (
    Augmentation,
    Dataset,
    ImageDecoder,
    PictureSplit,
    class_numbers,
    crop_and_flip,
    missing_labels,
    split_validation,
    split_validation_and_test,
)
from pbkd.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data import Split
    from pbkd.protocols import DataSource

PBKD_CONTRACT = 2

if find_spec("datasets") is None:
    raise ImportError("datasets is not installed: pip install 'pbkd[huggingface]'")

_NAMES = {"val": ("validation", "valid", "val", "dev"), "test": ("test", "testing")}
"""Names of the splits that are looked for."""


@dataclass(frozen=True)
class HuggingFaceSource:
    """A folder that `datasets.load_from_disk` or `datasets.load_dataset` reads.

    It was written by `save_to_disk`, or has Parquet files or image files. Nothing is downloaded.
    Without a test split, the validation split is the test split; without both, they are cut off
    the training images.

    Attributes:
        path: The folder.
        train: Name of the training split.
        val: Name of the validation split; empty: it is found by its name, if there is one.
        test: Name of the test split; empty: it is found by its name, if there is one.
        image: Column of the images; empty: the only one that has images.
        label: Column of the classes; empty: the only one that has classes, or `label`.
        labelled: Whether to use the labels.
        size: Height and width of the images, in pixels; see `ImageDecoder`. The teacher's own
            preprocessing is used for `size`, `channels`, `crop_pct` and `interpolation` if they
            are not set.
        channels: 1 (grey) or 3 (RGB).
        crop_pct: Share of the shorter side that the centre crop covers.
        interpolation: Resampling filter.
        validation: Share of the training images held out for a missing split.
        area: Smallest share of a training picture that its random resized crop covers (1 = off).
        crop: Pixels by which training images are shifted.
        flip: Mirror training images at random.
    """

    name: ClassVar[str] = "huggingface"
    path: str
    _: KW_ONLY
    train: str = "train"
    val: str = ""
    test: str = ""
    image: str = ""
    label: str = ""
    labelled: bool = True
    size: int = 224
    channels: int = 3
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    validation: float = 0.1
    area: float = 1.0
    crop: int = 0
    flip: bool = False

    def load(self) -> Dataset:
        """Open the folder; its images are decoded on demand.

        Raises:
            DataError: An option is out of range, or the folder cannot be read, or lacks a split, a
                column of images or a column of classes.
        """
        decoder = ImageDecoder(
            self.size, self.channels, self.crop_pct, self.interpolation, self.area
        )
        tables = self._tables()
        columns = self._columns(tables["train"])
        splits = {name: self._split(table, decoder, columns) for name, table in tables.items()}
        train, validation, test = self._splits(splits)
        names = getattr(tables["train"].features.get(columns[1]), "names", None)
        highest = max(int(split.labels.max()) for split in splits.values())
        count = len(names) if names else highest + 1
        return Dataset(
            name=self.name,
            train=train,
            validation=validation,
            test=test,
            num_classes=count if self.labelled else None,
            image_shape=(self.channels, self.size, self.size),
            augmentation=Augmentation(crop_and_flip(self.crop, self.flip), self.area),
            class_names=tuple(names) if names and self.labelled else None,
            decoder=decoder,
        )

    def _tables(self) -> dict[str, Any]:
        """Return the tables of `train`, and of `val` and `test` if there are any."""
        read = _read(Path(self.path).expanduser())
        found = dict(read) if isinstance(read, dict) else {self.train: read}
        chosen = {"train": self.train, "val": self.val, "test": self.test}
        tables = {}
        for split, stated in chosen.items():
            usual = (name for name in _NAMES.get(split, ()) if name in found)
            name = stated or next(usual, None)
            if name is not None and name not in found:
                raise DataError(
                    f"'{self.path}' has no split '{name}', but {', '.join(sorted(found))}: set"
                    f" data.{split}."
                )
            if name is not None:
                tables[split] = found[name]
        return tables

    def _columns(self, table: Any) -> tuple[str, str]:
        """Return the columns of images and of classes; the second is empty without labels."""
        from datasets import ClassLabel, Image

        features = dict(table.features)
        images = [name for name, kind in features.items() if isinstance(kind, Image)]
        classes = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
        image = self._pick("image", images, features)
        if not isinstance(features[image], Image):
            raise DataError(f"the column '{image}' of '{self.path}' has no images; set data.image.")
        if not self.labelled:
            return image, ""
        fallback = [name for name in ("label", "labels") if name in features]
        return image, self._pick("label", classes or fallback, features)

    def _pick(self, option: str, found: list[str], features: Mapping[str, Any]) -> str:
        stated: str = getattr(self, option)
        if stated in features:
            return stated
        if stated or len(found) != 1:
            what = f"no column '{stated}'" if stated else f"{len(found)} columns for data.{option}"
            raise DataError(
                f"'{self.path}' has {what}: set data.{option} to one of {', '.join(features)}."
            )
        return found[0]

    def _split(self, table: Any, decoder: ImageDecoder, columns: tuple[str, str]) -> PictureSplit:
        from datasets import Image

        image, label = columns
        if missing := {image, label} - {"", *table.features}:
            raise DataError(f"a split of '{self.path}' has no column '{min(missing)}'.")
        labels = missing_labels(len(table))
        if label and len(table):
            column = table.select_columns([label]).with_format("numpy")[:][label]
            labels = class_numbers(np.asarray(column), f"the labels '{label}' of '{self.path}'")
        pictures = _Pictures(table.select_columns([image]).cast_column(image, Image(decode=False)))
        return PictureSplit(pictures, labels, decoder)  # type: ignore[arg-type]

    def _splits(self, splits: Mapping[str, Split]) -> tuple[Split, Split, Split]:
        train = splits["train"]
        test = splits.get("test", splits.get("val"))
        if test is None:
            return split_validation_and_test(train, self.validation)
        if len(splits) == 3:
            return train, splits["val"], test
        return (*split_validation(train, self.validation), test)


@dataclass(frozen=True)
class _Pictures:
    """The files in the only column of a table, read when they are indexed."""

    table: Any

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> str | bytes:
        (cell,) = self.table[row].values()
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise DataError(f"row {row} of the data has no image: remove it.")
        content: str | bytes = cell["path"] if cell["bytes"] is None else cell["bytes"]
        return content


def _read(folder: Path) -> Any:
    """Read a table, or a mapping of tables by split."""
    import datasets

    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'; set data.path to one on this machine.")
    datasets.disable_progress_bars()
    stored = ("dataset_dict.json", "state.json")
    try:
        if any((folder / name).is_file() for name in stored):
            return datasets.load_from_disk(str(folder))
        return datasets.load_dataset(str(folder))
    except Exception as error:  # the library's readers fail with types of their own
        reason = str(error).split("\n")[0].rstrip(".")
        raise DataError(f"'{folder}' cannot be read by datasets ({reason}).") from error


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `huggingface`."""
    return [HuggingFaceSource]
