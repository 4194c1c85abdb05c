"""Objects of the user's own modules, named as `module:name`."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.core.torch_modes import kept_modes
from pbkd.errors import (
    PLUGIN_FAILURES,
    PbkdError,
    UnknownNameError,
    did_you_mean,
    first_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


__all__ = ["import_named"]


def import_named(name: str, what: str, known: Iterable[str], failure: type[PbkdError]) -> Any:
    """Import the object that `module:name` names.

    The module is looked up in the current folder and among the installed packages. Importing it
    runs its code. Modules that are imported later come from the current folder only if no installed
    package has their name.

    Args:
        name: `module:name`.
        what: What registered names stand for, such as "model", for the error message.
        known: The registered names, for suggestions.
        failure: The error to raise if the import fails.

    Raises:
        UnknownNameError: If there is no such module, or it has no such name.
        PbkdError: A `failure`, if the import fails.
    """
    path, _, attribute = name.partition(":")
    try:
        with kept_modes(), _current_folder_first():
            module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownNameError(
                f"'{path}' is neither a {what} nor a module of Python that can be imported from"
                f" here.{did_you_mean(path, known)}"
            ) from error
        raise _import_failed(path, error, failure) from error
    except PLUGIN_FAILURES as error:
        raise _import_failed(path, error, failure) from error
    if not hasattr(module, attribute):
        raise UnknownNameError(
            f"the module '{path}' has no function '{attribute}'."
            f"{did_you_mean(attribute, [name for name in vars(module) if name[0] != '_'])}"
        )
    return getattr(module, attribute)


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Search the current folder for modules first; after the context last."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have changed the path
            sys.path.remove(here)
        if here not in sys.path:
            sys.path.append(here)


def _import_failed(path: str, error: BaseException, failure: type[PbkdError]) -> PbkdError:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return failure(f"the module '{path}' cannot be imported: {reason}")
