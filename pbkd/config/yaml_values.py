"""YAML values that keep their text.

YAML reads `0123`, `1e3`, `on` and `0x10` as numbers or booleans, and whether that is meant depends
on the option: a file may have such a name. Therefore a plain scalar becomes a number, a boolean or
None only if `written` gives its text back; else it stays text, which `declared` converts once the
option's type is known.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["dump", "lossless", "read_argument", "scalar", "structure", "written"]

_FLOAT = re.compile(
    r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT = re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_BOOL = re.compile(r"^(?:yes|no|true|false|on|off)$", re.IGNORECASE)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_TAG = "tag:yaml.org,2002:"
_MALFORMED = (yaml.YAMLError, RecursionError, ValueError)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as omegaconf reads it, but without octal, sexagesimal and date values."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; a key that occurs twice is an error."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key occurs twice")
        return mapping


class _LosslessLoader(_Loader):
    """The same, but a scalar whose text would be lost stays text."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value, and keep a plain scalar whose text cannot be restored as text."""
        value = super().construct_object(node, deep)
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if is_plain and not isinstance(value, str) and written(value) != node.value:
            return node.value
        return value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes what some reader of YAML takes for a number."""


for _name, _pattern in (("bool", _BOOL), ("int", _INT), ("float", _FLOAT), ("null", _NULL)):
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, None)
_Dumper.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+.0123456789"))
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        _TAG + "str", text, style=None if text.isprintable() else '"'
    ),
)


def lossless(text: str) -> Any:
    """Read YAML; scalars whose text would be lost stay text.

    Raises:
        yaml.YAMLError: If it is not YAML.
    """
    return yaml.load(text, _LosslessLoader)


def read_argument(text: str) -> Any:
    """Read a value as it is typed after `key=`: lists, mappings and quotes stay text too."""
    try:
        value = lossless(text)
    except _MALFORMED:
        return text
    return value if not isinstance(value, str) and written(value) == text else text


def structure(value: Any) -> Any:
    """Read text that is a list or a mapping in YAML's flow style; return anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = lossless(value)
    except _MALFORMED:
        return value
    return found if isinstance(found, (list, dict)) else value


def scalar(text: str) -> Any:
    """Read text for an option whose type is not text.

    Args:
        text: The text of a scalar, perhaps in quotes.

    Returns:
        A number, a boolean, None, or the text between the quotes; else `text` unchanged.
    """
    try:
        value = yaml.load(text, _Loader)
    except _MALFORMED:
        return text
    if value is None:
        return None if _NULL.match(text.strip()) else text
    is_quoted = isinstance(value, str) and text.lstrip()[:1] in ("'", '"')
    return value if is_quoted or isinstance(value, (bool, int, float)) else text


def written(value: Any) -> str | None:
    """Write a scalar so that `lossless` reads it back; None if it is no scalar."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float)):
        return str(yaml.safe_dump(value)).partition("\n")[0]
    return None


def dump(value: Any) -> str:
    """Write plain data as YAML; `lossless` reads it back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20)
    return text
