"""Code that a configuration names: plugins, the function of a teacher, and a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.options import MEMORY
from pbkd.core.files import user_path
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pbkd.plugin.registry import Registry


__all__ = ["Code", "is_user_function", "named_plugins", "other_code", "trusting_registry"]

Code = tuple[str, ...]
"""A piece of code: its kind, its name, and where the name leads."""


def is_user_function(registry: Registry, name: str) -> bool:
    """Whether a teacher's name is `module:function`, not `family:variant` of a registered model."""
    family, colon, _ = name.partition(":")
    return bool(colon) and family not in registry.strategies["model"]


def trusting_registry(plugins: Sequence[str], teacher: str) -> Registry:
    """Load the plugins of a configuration that is trusted, and let its teacher be imported."""
    return build_registry(plugins, functions=[teacher])


def named_plugins(specs: Iterable[str]) -> Iterator[Code]:
    """Yield plugins, each with its file, or the folder from which its module is looked up."""
    for spec in specs:
        if spec.endswith(".py"):
            path = str(user_path(spec).resolve())
            yield "plugin", path, path
        else:
            yield "plugin", spec, str(Path.cwd())


def other_code(registry: Registry, teacher: str, launcher: Mapping[str, Any]) -> list[Code]:
    """Return what else runs: a teacher that is a function, and what a cluster's answers hold.

    Args:
        registry: The plugins.
        teacher: The teacher's name; a function is looked up in the current folder.
        launcher: The launcher with its options; one with an address unpickles what that answers.
    """
    code: list[Code] = []
    if is_user_function(registry, teacher) and not teacher.startswith(f"{MEMORY}:"):
        code.append(("function", teacher, str(Path.cwd())))
    if (address := launcher.get("address")) is not None:
        code.append(("cluster", str(address), ""))
    return code
