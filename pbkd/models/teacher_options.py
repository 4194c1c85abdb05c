"""The options that every teacher has."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from pbkd.config.options import typed_options

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["TeacherOptions", "split_options"]


@dataclass(frozen=True)
class TeacherOptions:
    """The options that every teacher has, in addition to its `build`'s; see docs/config.md."""

    weights: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    output: str | None = None
    probabilities: bool | None = None


def split_options(choice: Mapping[str, Any]) -> tuple[TeacherOptions, dict[str, Any]]:
    """Separate the options that every teacher has from the options of the model's `build`.

    Args:
        choice: The configuration's `teacher`.

    Raises:
        ConfigError: A value is of the wrong type.
    """
    names = {field.name for field in fields(TeacherOptions)}
    common = {key: value for key, value in choice.items() if key in names}
    options = {key: value for key, value in choice.items() if key not in {*names, "name"}}
    return TeacherOptions(**typed_options(TeacherOptions, common, where="teacher")), options
