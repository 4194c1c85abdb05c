"""Code that a configuration names: plugins, functions for teacher and data, and a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.load import read_overrides
from pbkd.config.options import MEMORY, choice_text
from pbkd.core.files import user_path
from pbkd.errors import TrustError
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pbkd.plugin.registry import Registry


__all__ = [
    "Code",
    "check_function_trusted",
    "is_user_function",
    "named_observers",
    "named_plugins",
    "other_code",
    "trusting_registry",
    "typed_functions",
]

Code = tuple[str, ...]
"""A piece of code: its kind, its name, and where the name leads."""


def is_user_function(registry: Registry, name: str, slot: str = "model") -> bool:
    """Whether a name is `module:function`, not a registered one or `family:variant` of a model.

    Args:
        registry: The plugins.
        name: The name of a teacher or of data.
        slot: `model` for a teacher, `data` for data.
    """
    family, colon, _ = name.partition(":")
    return bool(colon) and not {family, name} & registry.strategies[slot].keys()


def check_function_trusted(registry: Registry, name: str, key: str) -> None:
    """Check that the function of a teacher or of data may be imported.

    Args:
        registry: The plugins; its `functions` are those that may.
        name: `module:function`.
        key: The key that a user types to vouch for it, such as "teacher".

    Raises:
        TrustError: It may not.
    """
    if name not in registry.functions:
        raise TrustError(
            f"'{name}' is a function that only a file names, so it is not run: if it is yours,"
            f" type {key}={name}, or vouch for the file with --trust FILE."
        )


def trusting_registry(plugins: Sequence[str], *names: str) -> Registry:
    """Load the plugins of a configuration that is trusted.

    Args:
        plugins: The plugins.
        names: The names of its teacher and its data, which may be imported.
    """
    return build_registry(plugins, functions=names)


def typed_functions(overrides: Sequence[str]) -> set[str]:
    """Return the names of teacher and data that a user typed as `key=value` pairs."""
    tree = read_overrides(overrides)
    chosen = (tree.get(key) for key in ("teacher", "data"))
    return {choice["name"] for choice in chosen if isinstance(choice, dict) and "name" in choice}


def named_plugins(specs: Iterable[str]) -> Iterator[Code]:
    """Yield plugins, each with its file, or the folder from which its module is looked up."""
    for spec in specs:
        if spec.endswith(".py"):
            path = str(user_path(spec).resolve())
            yield "plugin", path, path
        else:
            yield "plugin", spec, str(Path.cwd())


def named_observers(choices: Iterable[Any]) -> Iterator[Code]:
    """Yield observers with their options, by which they may write files or send data."""
    for choice in choices:
        yield "observer", choice if isinstance(choice, str) else choice_text(choice), ""


def other_code(
    registry: Registry, teacher: str, data: str, launcher: Mapping[str, Any]
) -> list[Code]:
    """Return what else runs: functions for teacher and data, and what a cluster's answers hold.

    Args:
        registry: The plugins.
        teacher: The teacher's name; a function is looked up in the current folder.
        data: The name of the data, as the teacher's.
        launcher: The launcher with its options; one with an address unpickles what that answers.
    """
    code: list[Code] = [
        ("function", name, str(Path.cwd()))
        for slot, name in (("model", teacher), ("data", data))
        if is_user_function(registry, name, slot) and not name.startswith(f"{MEMORY}:")
    ]
    if (address := launcher.get("address")) is not None:
        code.append(("cluster", str(address), ""))
    return code
