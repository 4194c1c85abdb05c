"""Teacher and data as they fit each other: which images are read, and how they are normalised."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pbkd.data.data_preparation import prepare
from pbkd.data.fitted_normalization import fit_normalization
from pbkd.data.load import load_data
from pbkd.data.preprocessing import with_preprocessing
from pbkd.errors import TeacherError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data.datasets import Dataset
    from pbkd.data.preparation import Preparation
    from pbkd.models.teacher import Teacher
    from pbkd.plugin.registry import Registry


__all__ = ["FittedInputs", "fit_inputs"]


@dataclass(frozen=True, kw_only=True)
class FittedInputs:
    """A teacher, and data that fit it.

    Attributes:
        teacher: The teacher, with the normalisation of these images.
        data: The images.
        data_choice: The configuration's `data`, with the preprocessing that the teacher asks for.
        preparation: How a picture becomes the teacher's input.
    """

    teacher: Teacher
    data: Dataset
    data_choice: Mapping[str, Any]
    preparation: Preparation


def fit_inputs(
    teacher: Teacher, choice: Mapping[str, Any], registry: Registry, given: Dataset | None = None
) -> FittedInputs:
    """Load the images for a teacher, and decide how they become its input.

    Args:
        teacher: The teacher.
        choice: The configuration's `data`.
        registry: The plugins.
        given: Images that a program has in memory; None to load what `choice` names.

    Raises:
        TeacherError: The images have another number of channels than the teacher.
        DataError: The data is damaged or missing.
        ConfigError: A setting is invalid.
    """
    completed, origins = with_preprocessing(
        choice, teacher.network, registry, own_weights=teacher.weights != "pretrained"
    )
    data = given or load_data(completed, registry)
    _check_channels(teacher, data)
    fitted = fit_normalization(data, teacher.normalization, teacher.origins)
    return FittedInputs(
        teacher=replace(teacher, normalization=fitted.normalization),
        data=fitted.data,
        data_choice=completed,
        preparation=prepare(data, fitted, {**origins, **teacher.origins}),
    )


def _check_channels(teacher: Teacher, data: Dataset) -> None:
    channels, normalization = data.image_shape[0], teacher.normalization
    if not len(normalization.mean) == len(normalization.std) == channels:
        raise TeacherError(
            f"the data '{data.name}' has {channels} channels, but the teacher '{teacher.name}' is"
            f" normalised for {len(normalization.mean)}: choose other data, or give teacher.mean"
            " and teacher.std."
        )
