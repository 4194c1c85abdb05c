"""Image files in folders, one per class or without labels, that are decoded on demand."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from pbkd import hookimpl
from pbkd.data import Augmentation, Division, ImageDecoder, crop_and_flip, read_image_folder
from pbkd.errors import DataError

if TYPE_CHECKING:
    from pbkd.data import Dataset
    from pbkd.protocols import DataSource

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class ImageFolderSource:
    """Image files in one folder per class, below train/, val/ and test/ in the folder `path`.

    Without test/, val/ is the test split, as in ImageNet, and validation images are cut off
    train/; so they are if there is no val/. With both, val/ is the validation split. Without
    either, or with the class folders in `path` itself, both are cut off the training images.
    valid/ and validation/ mean val/.

    With `labelled=false` the files have no labels and are anywhere below train/, val/ and test/,
    or below `path` itself; missing validation and test splits are cut off the training images.

    Attributes:
        path: The folder.
        size: Height and width of the images, in pixels; see `ImageDecoder`. The teacher's own
            preprocessing is used for `size`, `channels`, `crop_pct` and `interpolation` if they
            are not set.
        channels: 1 (grey) or 3 (RGB).
        crop_pct: Share of the shorter side that the centre crop covers.
        interpolation: Resampling filter.
        labelled: Whether folders are classes.
        validation: Share of the training images held out for validation.
        train_limit: Number of training images to use, of all classes alike (0 = all).
        area: Smallest share of a training picture that its random resized crop covers (1 = off).
        crop: Pixels by which training images are shifted.
        flip: Mirror training images at random.
        workers: Processes that decode (0 = threads of the process that uses the images).
        corrupt: `fail` ends the run at a file that cannot be decoded; `skip` decodes every file
            once before the run and leaves such files out.
    """

    name: ClassVar[str] = "imagefolder"
    path: str
    _: KW_ONLY
    size: int = 224
    channels: int = 3
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    labelled: bool = True
    validation: float = 0.1
    train_limit: int = 0
    area: float = 1.0
    crop: int = 0
    flip: bool = False
    workers: int = 0
    corrupt: str = "fail"

    def load(self) -> Dataset:
        """List the files; their images are decoded on demand.

        Raises:
            DataError: An option is out of range, a folder is missing, or classes differ.
        """
        if self.corrupt not in ("fail", "skip"):
            raise DataError(f"data.corrupt is '{self.corrupt}', but must be fail or skip.")
        if self.workers < 0:
            raise DataError(f"data.workers is {self.workers}, but must be 0 or more.")
        decoder = ImageDecoder(
            self.size, self.channels, self.crop_pct, self.interpolation, self.area
        )
        data = read_image_folder(
            self.path,
            decoder,
            labelled=self.labelled,
            division=Division(self.validation, self.train_limit),
            workers=self.workers,
            skip_corrupt=self.corrupt == "skip",
        )
        augmentation = Augmentation(crop_and_flip(self.crop, self.flip), self.area)
        return replace(data, name=self.name, augmentation=augmentation)


@hookimpl
def register_data() -> list[type[DataSource]]:
    """Register the data `imagefolder`."""
    return [ImageFolderSource]
