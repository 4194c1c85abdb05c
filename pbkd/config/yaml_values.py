"""YAML values that keep their text.

YAML reads `0123`, `1e3`, `on` and `0x10` as numbers or booleans, and whether that is meant depends
on the option: a file may have such a name. Therefore a plain scalar becomes a number, a boolean or
None only if `written` gives its text back; else it stays text, which `declared` converts once the
option's type is known.

The text may be untrusted. What its structure may cost is bounded, and it cannot name a type: a tag
such as `!!int` makes a sexagesimal number of `1:30`, whose conversion takes quadratic time.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = [
    "MOST_BYTES",
    "MOST_LEVELS",
    "YamlLimitError",
    "dump",
    "lossless",
    "plain",
    "read_argument",
    "scalar",
    "structure",
    "written",
]

MOST_BYTES = 2**18
"""The longest YAML that is read, in bytes of a file or characters of a text."""
MOST_LEVELS = 50
"""The deepest nesting of lists and mappings."""
_MOST_NODES = 4000  # omegaconf takes two seconds for them

_SHORT = r"^(?=.{1,400}$)"  # longer text is no number
_FLOAT = re.compile(
    _SHORT + r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT = re.compile(_SHORT + r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_BOOL = re.compile(r"^(?:yes|no|true|false|on|off)$", re.IGNORECASE)
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_TAG = "tag:yaml.org,2002:"
_SCALARS = {_TAG + "bool": _BOOL, _TAG + "int": _INT, _TAG + "float": _FLOAT, _TAG + "null": _NULL}
_TAGS = (*_SCALARS, *(_TAG + name for name in ("str", "seq", "map")))
_MALFORMED = (yaml.YAMLError, RecursionError, ValueError)


class YamlLimitError(yaml.YAMLError):  # type: ignore[misc]
    """YAML is too long or too deep, or has aliases or tags; the message follows its name."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML as omegaconf reads it, but without octal, sexagesimal and date values."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        """Raise `YamlLimitError` if the text is too long."""
        if len(text) > MOST_BYTES:
            raise YamlLimitError(f"is YAML of more than {MOST_BYTES:,} characters")
        super().__init__(text)
        self._levels = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, before which its structure is checked.

        The parser is a loop that reads at most a line ahead, so that this ends it in time.
        """
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise YamlLimitError("has YAML aliases (*name): write the values out")
        if event.tag not in (None, *_TAGS):
            raise YamlLimitError(f"has the YAML tag {event.tag[:100]!r}: write plain values")
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise YamlLimitError(f"has more than {_MOST_NODES:,} values")
        if self._levels == MOST_LEVELS:
            raise YamlLimitError(f"is nested deeper than {MOST_LEVELS} levels")
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Construct a value; a scalar with a tag must look like one of its type."""
        pattern = _SCALARS.get(node.tag) if isinstance(node, yaml.ScalarNode) else None
        if pattern and not pattern.match(node.value):
            raise YamlLimitError(f"has a value that does not fit its YAML tag {node.tag!r}")
        return super().construct_object(node, deep)

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


_REPRESENTER = yaml.representer.SafeRepresenter()
for _tag, _pattern in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, None)
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
        yaml.YAMLError: If it is not YAML; a `YamlLimitError` if it is too long or too deep, or has
            aliases or tags.
    """
    return yaml.load(text, _LosslessLoader)


def plain(text: str) -> Any:
    """Read YAML like `lossless`, but every number as one, such as `1e-3`."""
    return yaml.load(text, _Loader)


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
        return str(_REPRESENTER.represent_data(value).value)
    return None


def dump(value: Any) -> str:
    """Write plain data as YAML; `lossless` reads it back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**20)
    return text
