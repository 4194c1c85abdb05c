"""Where mean and standard deviation of a teacher's images come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.data.normalization import read_normalization
from pbkd.data.preprocessing import CFG, pretrained_cfg
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from pbkd.data.normalization import Normalization
    from pbkd.protocols import ZooModel


__all__ = ["find_normalization"]


def find_normalization(
    model: ZooModel, network: nn.Module, given: Mapping[str, Sequence[float] | None]
) -> tuple[Normalization, dict[str, str]]:
    """Take mean and std from the options, else from timm's `pretrained_cfg`, else from the zoo.

    Args:
        model: The network's entry in the zoo.
        network: The network, which may declare its own preprocessing.
        given: The options `mean` and `std` of the teacher, or None.

    Returns:
        The normalisation, and where `mean` and `std` came from.

    Raises:
        ConfigError: If one of them is unknown.
    """
    cfg = pretrained_cfg(network)
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key in ("mean", "std"):
        stated = (
            (f"teacher.{key}", given[key]),
            (CFG, cfg.get(key)),
            ("the model zoo", getattr(model, key)),
        )
        origins[key], found[key] = next((s for s in stated if s[1]), ("", None))
    if not found["mean"] or not found["std"]:
        raise ConfigError(
            f"it is not known how '{model.name}' has its images normalised: give teacher.mean and"
            " teacher.std, a number for each channel ([0, 0, 0] and [1, 1, 1] for not at all)."
        )
    return read_normalization(found["mean"], found["std"], "teacher."), origins
