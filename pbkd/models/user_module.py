"""Networks of the user's own, named as `module:function`."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pbkd.config.options import MEMORY
from pbkd.core.torch_modes import kept_modes
from pbkd.errors import TeacherError, UnknownNameError, did_you_mean, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


__all__ = ["import_function"]


def import_function(name: str, known: Iterable[str]) -> Callable[..., nn.Module]:
    """Import the function that `module:function` names.

    The module is looked up in the current folder and among the installed packages. Importing it
    runs its code. Modules that are imported later come from the current folder only if no installed
    package has their name.

    Args:
        name: `module:function`, or `module:network` for a network that the module has made.
        known: Names of the registered models, for suggestions.

    Returns:
        The function, which builds the network.

    Raises:
        UnknownNameError: If there is no such module or function.
        TeacherError: If the import fails.
    """
    path, _, attribute = name.partition(":")
    if path == MEMORY:
        raise UnknownNameError(
            f"the network '{attribute}' was a Python program's own, given to pbkd.compress: in"
            " Python, pbkd.load(FOLDER, make=FUNCTION) loads its student."
        )
    try:
        with kept_modes(), _current_folder_first():
            module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownNameError(
                f"'{path}' is neither a model nor a module of Python that can be imported from"
                f" here.{did_you_mean(path, known)}"
            ) from error
        raise _import_failed(path, error) from error
    except Exception as error:
        raise _import_failed(path, error) from error
    function: Any = getattr(module, attribute, None)
    if isinstance(function, nn.Module):  # the network itself, not what makes it
        return lambda: function
    if not callable(function):
        raise UnknownNameError(
            f"the module '{path}' has no function '{attribute}'."
            f"{did_you_mean(attribute, [name for name in vars(module) if name[0] != '_'])}"
        )
    factory: Callable[..., nn.Module] = function
    return factory


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


def _import_failed(path: str, error: Exception) -> TeacherError:
    return TeacherError(
        f"the module '{path}' cannot be imported: {type(error).__name__}: {first_line(error)}"
    )
