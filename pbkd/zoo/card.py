"""Cards of trained weights: summary, licence, data, accuracy, size, checksum and command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.config.yaml_files import read_yaml
from pbkd.config.yaml_values import plain
from pbkd.core.terminal_text import terminal_text
from pbkd.errors import ConfigError, ZooError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["CARD", "README", "Card", "read_card"]

CARD, README = "card.yaml", "README.md"
"""The files of a student that are about it."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card of a teacher or a student; missing fields are None.

    Attributes:
        summary: One line about the network.
        licence: Licence of the weights.
        command: Command line that made the weights.
        data: Name and options of the data, as in a run's configuration.
        validation: Accuracy on the validation split, 0 to 1.
        test: Accuracy on the test split, 0 to 1.
        parameters: Number of parameters.
        macs: MACs for one image.
        sha256: Checksum of the weights file.
    """

    summary: str | None = None
    licence: str | None = None
    command: str | None = None
    data: dict[str, Any] | None = None
    validation: float | None = None
    test: float | None = None
    parameters: int | None = None
    macs: int | None = None
    sha256: str | None = None


def read_card(path: Path) -> Card:
    """Read a card (untrusted YAML).

    A teacher's card has its data in `recipe`, a student's in `data`.

    Raises:
        ZooError: If the file is missing or not a valid card.
    """
    tree = _tree(path)
    recipe = _field(tree, "recipe", dict, path) or {}
    accuracy = _field(tree, "accuracy", dict, path) or {}
    data = _field(tree if "data" in tree else recipe, "data", dict, path)
    if data is not None and not isinstance(data.get("name"), str):
        raise ZooError(f"'data' of the card '{path}' must be a mapping with a name.")
    validation, test = (_number(accuracy, key, path, most=1) for key in ("validation", "test"))
    summary, licence, command, sha256 = (
        _text(tree, key, path) for key in ("summary", "licence", "command", "sha256")
    )
    parameters, macs = (_number(tree, key, path) for key in ("parameters", "macs"))
    for key, count in (("parameters", parameters), ("macs", macs)):
        if isinstance(count, float):
            raise ZooError(f"'{key}' of the card '{path}' must be a whole number.")
    return Card(
        summary=summary,
        licence=licence,
        command=command,
        data=data,
        validation=validation,
        test=test,
        parameters=None if parameters is None else int(parameters),
        macs=None if macs is None else int(macs),
        sha256=sha256,
    )


def _tree(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ZooError(f"there is no card '{path}'.")
    try:
        tree = read_yaml(path, plain)
    except ConfigError as error:
        raise ZooError(str(error)) from error
    if not tree:
        raise ZooError(f"the card '{path}' must be a mapping of keys to values.")
    return tree


def _field(tree: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    value = tree.get(key)
    if value is not None and not isinstance(value, kind):
        raise ZooError(
            f"'{key}' of the card '{path}' must be a {kind.__name__}, not a {type(value).__name__}."
        )
    return value


def _text(tree: Mapping[str, Any], key: str, path: Path) -> str | None:
    text = _field(tree, key, str, path)
    return None if text is None else " ".join(terminal_text(text).split())


def _number(
    tree: Mapping[str, Any], key: str, path: Path, most: float = 2**63
) -> int | float | None:
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ZooError(f"'{key}' of the card '{path}' must be a number from 0 to {most:g}.")
    return value
