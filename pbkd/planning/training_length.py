"""How many epochs the phases train, where the configuration leaves it open."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FEW_IMAGES", "TrainingLength", "training_length", "tuning_rounds"]

_SCALE = 800.0
_BLOCKWISE_SHARE = 0.2
_LEAST_STEPS = 200, 50  # of fine-tuning and of the teacher-fed phase
_FEW_STEPS = 300
FEW_IMAGES = 1000
"""Below it the whole student is not trained by default."""


@dataclass(frozen=True)
class TrainingLength:
    """Epochs of the phases.

    Attributes:
        teacher_fed: Of the teacher-fed phase.
        fine_tuning: Of fine-tuning.
    """

    teacher_fed: int
    fine_tuning: int


def training_length(images: int, steps: int, depth: int, parameters: int) -> TrainingLength:
    """Return how long a student is trained.

    A shallow student, or one with few parameters, which follow from width and target, needs more
    epochs; more images need fewer, though more steps. The exponents are fitted to the networks and
    numbers of images in docs/quality.md. Below 1,000 images all steps are teacher-fed, since
    training the whole student on few images loses what its blocks have learnt, see
    docs/few-images.md.

    Args:
        images: Training images of an epoch.
        steps: Steps per epoch.
        depth: The teacher's convolutions that can be made cheaper.
        parameters: The student's parameters, if every block is replaced.

    Returns:
        The epochs, at least some hundred steps.
    """
    if images < FEW_IMAGES:
        return TrainingLength(teacher_fed=-(-_FEW_STEPS // steps), fine_tuning=0)
    size = max(1, depth) ** (1 / 2) * max(1, parameters) ** (1 / 5)
    epochs = _SCALE / (images ** (1 / 8) * size)
    tuning, blockwise = _LEAST_STEPS
    return TrainingLength(
        teacher_fed=max(1, round(_BLOCKWISE_SHARE * epochs), -(-blockwise // steps)),
        fine_tuning=max(1, round(epochs), -(-tuning // steps)),
    )


def tuning_rounds(epochs: int) -> tuple[int, ...]:
    """Divide fine-tuning into rounds, after each of which it may end.

    Args:
        epochs: The epochs.

    Returns:
        The epochs after which each round ends: a quarter of them, half of them, and all.
    """
    return tuple(dict.fromkeys(max(1, round(epochs / parts)) for parts in (4, 2, 1)))
