"""Exporters: the files in which a student is deployed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.data.preparation import Preparation


__all__ = ["ExportImages", "ExportSubject", "Exporter"]


@dataclass(frozen=True, kw_only=True)
class ExportImages:
    """Images of the run's data, as input of the network that is exported.

    Attributes:
        calibration: Training images, drawn by the run's seed: what activations are measured on.
        validation: Validation images, on which an exporter makes its decisions.
        classes: The class of each validation image, int64 (images,): its label, or, without labels,
            the teacher's.
    """

    calibration: Tensor
    validation: Tensor
    classes: Tensor


@dataclass(frozen=True, kw_only=True)
class ExportSubject:
    """What is exported.

    Attributes:
        network: The network, in evaluation mode, on the CPU; a copy, which may be modified.
        preparation: How a picture becomes its input.
        class_names: The names of the classes; None if unknown.
        example: A batch of its input: float images (B, C, H, W) or, with `--with-preparation`,
            uint8 pixels (B, H, W, C).
        input_name: The name of the input, `images` or `pixels`.
        images: Images in the form of `example`; None unless the exporter has a `float_format`.
    """

    network: nn.Module
    preparation: Preparation
    class_names: tuple[str, ...] | None
    example: Tensor
    input_name: str
    images: ExportImages | None = None


class Exporter(Protocol):
    """Writes a network in one format (`pbkd export --format NAME`).

    The core reads each file back and compares outputs with the network's, for batches of two sizes.

    A format that holds weights without operations has a class attribute `weights_only = True`: the
    preparation of images cannot be a part of it.

    A format that changes the outputs, as one of 8-bit integers does, has a class attribute
    `float_format`: the name of the format by which the same engine executes the network unchanged,
    such as "onnx". Its exporter gets images of the run's data, and the core compares the classes of
    the validation images instead of the outputs; both formats' accuracy and latency are measured.

    Attributes:
        suffix: The suffix of the file, such as `.onnx`.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]

    def write(self, subject: ExportSubject, path: Path) -> tuple[Sequence[Path], str | None]:
        """Write a network; its file takes batches of any size.

        Called once by `pbkd export`, in the host process.

        Args:
            subject: The network, its preparation and an example of its input.
            path: The file to write, or a folder to make.

        Returns:
            The paths that were written, `path` among them, and a remark for the user, or None.

        Raises:
            ExportError: The network cannot be written in this format.
        """
        ...

    def read(self, path: Path, subject: ExportSubject) -> Callable[[Tensor], Tensor]:
        """Read what `write` wrote, for the comparison with the network.

        Called once by `pbkd export`, in the host process.

        Args:
            path: What `write` wrote.
            subject: What was written, but all weights of the network are zero: a file of weights
                can be loaded into it.

        Returns:
            A function of a batch like `subject.example`, of any size, that returns logits
            (B, classes).
        """
        ...
