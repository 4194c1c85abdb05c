"""The preparation that a data set and its normalisation amount to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.data.preparation import Preparation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.data.datasets import Dataset
    from pbkd.data.fitted_normalization import FittedNormalization


__all__ = ["prepare"]


def prepare(data: Dataset, fitted: FittedNormalization, origins: Mapping[str, str]) -> Preparation:
    """Describe how pictures become the input of a data set's teacher.

    Args:
        data: The images.
        fitted: Their normalisation.
        origins: Where `mean` and `std` came from, and, for image files, `size`, `channels`,
            `crop_pct` and `interpolation`.
    """
    channels, height, width = data.image_shape
    decoder, source = data.decoder, f"data={data.name}"
    size = origins.get("size", source)
    return Preparation(
        channels=channels,
        resize=decoder.resized if decoder else None,
        interpolation=decoder.interpolation if decoder else "bilinear",
        height=height,
        width=width,
        normalization=fitted.of_pictures,
        origins={
            "channels": origins.get("channels", source),
            "resize": origins.get("crop_pct", "assumed"),
            "interpolation": origins.get("interpolation", "assumed"),
            "height": size,
            "width": size,
            "range": fitted.values,
            **{key: origins[key] for key in ("mean", "std") if key in origins},
        },
    )
