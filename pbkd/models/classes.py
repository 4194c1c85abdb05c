"""The rule by which the labels of the images fit the outputs of a network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pbkd.errors import TeacherError, first_line, is_out_of_memory

if TYPE_CHECKING:
    from torch import nn

    from pbkd.data.datasets import Dataset


__all__ = ["fit_classes"]

_TENSORFLOW_CLASSES = 1001  # of its ImageNet networks, whose class 0 is the background


@torch.no_grad()
def fit_classes(network: nn.Module, data: Dataset, images: Tensor) -> Dataset:
    """Take the outputs of a network as the classes of the data; some may have no images.

    Args:
        network: The network.
        data: The data, with or without labels.
        images: A batch, (B, C, H, W), on the network's device.

    Returns:
        The data, with the network's number of outputs as `num_classes` if it has labels, and with
        a note if some classes have no images. Class names are kept if there is one per output.

    Raises:
        TeacherError: If the network does not take the images, does not return one row of logits
            per image, or lacks a class that has images.
    """
    outputs = _count_outputs(network, data, images)
    if not data.labelled:
        return data
    present = torch.cat([torch.unique(s.labels) for s in (data.train, data.validation, data.test)])
    low, high, count = int(present.min()), int(present.max()), len(torch.unique(present))
    if high >= outputs:
        raise TeacherError(
            f"the labels of '{data.name}' run from {low} to {high}, but the teacher has {outputs}"
            f" outputs, for the classes 0 … {outputs - 1}: {_cure(low, high, outputs)}."
        )
    notes = data.notes
    if count < outputs:
        notes = (*notes, _missing_classes(count, high, outputs))
    names = data.class_names if len(data.class_names or ()) == outputs else None
    return replace(data, num_classes=outputs, class_names=names, notes=notes)


def _cure(low: int, high: int, outputs: int) -> str:
    if low > 0 and high - low < outputs:
        first = 1 if high == outputs else low
        return f"if they are counted from {first}, subtract {first} from each (label - {first})"
    if high == outputs:
        return (
            "if class 0 is a background class that the teacher lacks, leave its images out and"
            " subtract 1 from each label"
        )
    return "number the classes as the teacher's outputs, or choose a teacher for these classes"


def _missing_classes(count: int, high: int, outputs: int) -> str:
    note = f"The images have labels of {count} of the teacher's {outputs} classes."
    if outputs == _TENSORFLOW_CLASSES and high == outputs - 2:
        note += (
            " If the teacher's class 0 is the background, as in TensorFlow's networks, add 1 to"
            " each label."
        )
    return note


def _count_outputs(network: nn.Module, data: Dataset, images: Tensor) -> int:
    shape = tuple(data.image_shape)
    try:
        logits = network(images)
    except Exception as error:  # a network may check its input in ways of its own
        if is_out_of_memory(error):
            raise
        raise TeacherError(
            f"the teacher cannot take images of shape {shape} from '{data.name}':"
            f" {first_line(error)}"
        ) from error
    if not isinstance(logits, Tensor):
        raise TeacherError(f"the teacher gives {type(logits).__name__}, not one tensor of logits.")
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise TeacherError(
            f"the teacher gives outputs of shape {tuple(logits.shape[1:])} for each image, but must"
            " give one logit for each of two or more classes."
        )
    if not logits.isfinite().all():
        raise TeacherError(
            f"the teacher gives outputs that are not finite (NaN or infinite) for images from"
            f" '{data.name}': check its weights, and the values and normalisation of the images."
        )
    return logits.shape[1]
