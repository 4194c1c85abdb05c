"""The card of trained weights: what they are, how they score, and the command that made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from pbkd.config.load import yaml_text
from pbkd.errors import ConfigError, ZooError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


__all__ = ["Card", "printable", "read_card"]


@dataclass(frozen=True)
class Card:
    """What a card says of a teacher or a student; None where it says nothing.

    `validation` and `test` are accuracies, as shares. `data` is a choice, as `data` of a run is.
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
    """Read a card, which may be anyone's; raises `ZooError` for one that is none.

    A teacher's card names its data in `recipe`, a student's has `data` itself.
    """
    tree = _tree(path)
    recipe = _field(tree, "recipe", dict, path) or {}
    accuracy = _field(tree, "accuracy", dict, path) or {}
    data = _field(tree if "data" in tree else recipe, "data", dict, path)
    if data is not None and not isinstance(data.get("name"), str):
        raise ZooError(f"'data' of the card '{path}' is no choice: a name with its options.")
    validation, test = (_number(accuracy, key, path, most=1) for key in ("validation", "test"))
    summary, licence, command, sha256 = (
        _text(tree, key, path) for key in ("summary", "licence", "command", "sha256")
    )
    parameters, macs = (_number(tree, key, path) for key in ("parameters", "macs"))
    for key, count in (("parameters", parameters), ("macs", macs)):
        if isinstance(count, float):
            raise ZooError(f"'{key}' of the card '{path}' is no whole number.")
    return Card(
        summary, licence, command, data, validation, test,
        None if parameters is None else int(parameters), None if macs is None else int(macs),
        sha256,
    )  # fmt: skip


def printable(text: str) -> str:
    """Return text without the control characters by which it could rule a terminal."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def _tree(path: Path) -> dict[str, Any]:
    try:
        # As plain data: a command may hold what omegaconf would take for an interpolation.
        tree = yaml.safe_load(yaml_text(path))
    except ConfigError as error:
        raise ZooError(str(error)) from error
    except FileNotFoundError as error:
        raise ZooError(f"there is no card '{path}'.") from error
    except Exception as error:
        raise ZooError(f"the card '{path}' cannot be read: {first_line(error)}") from error
    if not isinstance(tree, dict):
        raise ZooError(f"the card '{path}' is no mapping of keys to values.")
    return tree


def _field(tree: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    value = tree.get(key)
    if value is not None and not isinstance(value, kind):
        raise ZooError(f"'{key}' of the card '{path}' is a {type(value).__name__}.")
    return value


def _text(tree: Mapping[str, Any], key: str, path: Path) -> str | None:
    text = _field(tree, key, str, path)
    return None if text is None else " ".join(printable(text).split())


def _number(
    tree: Mapping[str, Any], key: str, path: Path, most: float = 2**63
) -> int | float | None:
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ZooError(f"'{key}' of the card '{path}' is no number that it can be.")
    return value
