"""Lazy package exports: a package whose names are imported when they are first used."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # `typing` would take longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


__all__ = ["lazy_exports"]


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package (PEP 562), and let `dir` list the names.

    Importing the package then stays cheap, and its modules can import each other freely.

    Args:
        package: The package's `__name__`.
        modules: By exported name, the full name of the module that defines it.
    """

    def import_name(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(import_module(modules[name]), name)

    own_names = vars(sys.modules[package])
    own_names["__dir__"] = lambda: sorted({*own_names, *modules})
    return import_name
