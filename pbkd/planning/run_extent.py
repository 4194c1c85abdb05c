"""How much a run has to do after its teacher-fed phase."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RunExtent"]


@dataclass(frozen=True, kw_only=True)
class RunExtent:
    """How much a run has to do after its teacher-fed phase.

    Attributes:
        batch_size: Images per batch.
        labelled: Whether the images have labels.
        validation_images: Images of the validation split.
        test_images: Images of the test split.
        sample_images: Those that the teacher predicts in planning.
        recalibration_batches: Batches for re-estimating BatchNorm statistics.
        epochs: Epochs of fine-tuning.
        epoch_steps: Steps of each.
        training_images: Images of the training split.
        tuning_overhead: Share of a step of fine-tuning that does not shrink with the batch; None if
            it was not measured, where it follows from the costs of the blocks.
        scoring_factor: How many times as long a forward pass takes where networks are scored, in
            float32, as where they are trained.
        gradient_bytes: Size of the student's gradients.
        exchanges: Exchanges of workers that train the student together, per step.
        augmented_per_image: Whether each of them can augment its own rows of a batch alone.
    """

    batch_size: int
    labelled: bool
    validation_images: int
    test_images: int
    sample_images: int
    recalibration_batches: int
    epochs: int
    epoch_steps: int
    training_images: int
    tuning_overhead: float | None = None
    scoring_factor: float = 1.0
    gradient_bytes: int = 0
    exchanges: int = 0
    augmented_per_image: bool = False
