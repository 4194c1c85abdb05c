"""Plugins in `.py` files, as modules that any process can import.

The name of such a module is this module's name, a dot, and the path of the file in escaped form.
What a plugin defines can thus be pickled: the process that unpickles it, such as a worker that a
launcher has started, imports this module by name, which then finds the file.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote_to_bytes

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType


__all__ = ["file_of_module", "import_file"]

__path__: list[str] = []  # makes Python look for modules within this one
_PREFIX = f"{__name__}."


def import_file(path: Path) -> ModuleType:
    """Import a file, unless it is imported already and has not changed since.

    Args:
        path: The file; files of the same name in different folders are different modules.

    Raises:
        Exception: The file cannot be read, or its code raises an exception.
    """
    file = path.resolve()
    name = _PREFIX + quote(os.fsencode(file), safe="").replace(".", "%2E")
    loaded = sys.modules.get(name)
    if loaded is not None and vars(loaded)[_SOURCE] != file.read_bytes():
        del sys.modules[name]
    return import_module(name)


def file_of_module(name: str) -> Path | None:
    """Return the file of a module that `import_file` has imported; None for another module."""
    if not name.startswith(_PREFIX):
        return None
    return Path(os.fsdecode(unquote_to_bytes(name.removeprefix(_PREFIX))))


_SOURCE = "__pbkd_source__"


class _Loader(SourceFileLoader):
    """Load a file from its source; write no bytecode next to the user's files."""

    def path_stats(self, path: str) -> NoReturn:
        raise OSError(f"bytecode of {path} is not used")

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[_SOURCE] = Path(self.path).read_bytes()
        super().exec_module(module)


class _Finder:
    """Find the modules whose names hold the path of a file."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        file = file_of_module(name)
        if file is None or not file.is_file():
            return None
        return spec_from_file_location(name, file, loader=_Loader(name, str(file)))


sys.meta_path.append(_Finder)
