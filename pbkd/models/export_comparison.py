"""Comparison of an exported network with the student: its outputs, or its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pbkd.errors import ExportError
from pbkd.models.export_check import who
from pbkd.models.rounding import is_rounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from pbkd.protocols import Exporter, ExportSubject

    Network = Callable[[Tensor], Tensor]


__all__ = ["Likeness", "comparison", "predicted_classes"]

_TOLERANCE = 1e-4
"""Maximum difference, as a share of the largest logit: runtimes order sums differently."""
_TOLERANCE_OF_CODES = 0.05
"""The same of a network that rounds: where sums differ, some values round to the next code."""
_BATCHES = (1, 5)
_LEAST_AGREEMENT = 0.8
"""Minimum share of images to which a format that changes the outputs gives the student's class."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Likeness:
    """How like the student's the outputs of a file are.

    Attributes:
        difference: The largest difference of their logits, over batches of 1 and 5; None if the
            format changes them.
        agreement: If it does, the share of `images` to which the file gives the student's class.
        images: Number of validation images behind `agreement`.
    """

    difference: float | None = None
    agreement: float | None = None
    images: int = 0

    def __str__(self) -> str:
        """Say it in words that go on after "student.onnx: "."""
        if self.agreement is None:
            return f"its outputs differ from the student's by {self.difference:.1e} at most"
        share = f"{100 * self.agreement:.2f} % of {self.images:,} validation images"
        return f"it gives {share} the student's class"


def comparison(exporter: Exporter, subject: ExportSubject) -> Callable[[Network], Likeness]:
    """Compute a network's outputs, before an exporter can change the network.

    Args:
        exporter: The exporter.
        subject: The network; with images if the format changes the outputs.

    Returns:
        A function of what `read_back` returned. It raises `ExportError` if its outputs differ.
    """
    if subject.images is None:
        return _outputs(exporter, subject)
    return _classes(exporter, subject.network, subject.images.validation)


def _outputs(exporter: Exporter, subject: ExportSubject) -> Callable[[Network], Likeness]:
    batches = []
    for size in _BATCHES:
        generator = torch.Generator().manual_seed(size)
        batch = torch.randn(size, *subject.example.shape[1:], generator=generator)
        if subject.example.dtype == torch.uint8:
            batch = (80 * batch + 128).clamp(0, 255).to(torch.uint8)
        batches.append(batch)
    expected = [subject.network(batch.clone()).clone() for batch in batches]
    tolerance = _TOLERANCE_OF_CODES if is_rounded(subject.network) else _TOLERANCE

    def compare(read: Network) -> Likeness:
        found = [read(batch.clone()) for batch in batches]
        differences = []
        for logits, wanted in zip(found, expected, strict=True):
            difference, most = float((logits - wanted).abs().max()), float(wanted.abs().max())
            if not difference <= tolerance * most:
                raise ExportError(
                    f"what {who(exporter)} wrote gives other outputs than the student, by"
                    f" {difference:.2g} of {most:.2g}: it is not to be used."
                )
            differences.append(difference)
        return Likeness(difference=max(differences))

    return compare


def _classes(exporter: Exporter, network: Network, images: Tensor) -> Callable[[Network], Likeness]:
    expected = predicted_classes(network, images)

    def compare(read: Network) -> Likeness:
        share = float((predicted_classes(read, images) == expected).double().mean())
        if share < _LEAST_AGREEMENT:
            raise ExportError(
                f"what {who(exporter)} wrote gives only {100 * share:.1f} % of {len(images):,}"
                " validation images the student's class: it is not to be used."
            )
        return Likeness(agreement=share, images=len(images))

    return compare


def predicted_classes(network: Network, images: Tensor) -> Tensor:
    """Predict the class of each image, int64 (images,)."""
    starts = range(0, len(images), _AT_ONCE)
    return torch.cat([network(images[first : first + _AT_ONCE]).argmax(1) for first in starts])
