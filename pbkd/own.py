"""Networks of the user's own: `teacher=package.module:function`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pbkd.errors import TeacherError, UnknownNameError, did_you_mean
from pbkd.options import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

__all__ = ["MEMORY", "own_function"]

MEMORY = "memory"
"""Stands for a module in the name of what a Python program had in memory."""


def own_function(name: str, known: Iterable[str]) -> Callable[..., nn.Module]:
    """Return the function that `module:function` names, from the current folder or installed.

    Importing the module runs its code. Raises `UnknownNameError` where there is no such module or
    function, with the nearest of the `known` names, and `TeacherError` where importing it fails.
    """
    path, _, attribute = name.partition(":")
    if path == MEMORY:
        raise UnknownNameError(
            f"the network '{attribute}' was a Python program's own, given to pbkd.compress: in"
            " Python, pbkd.load(FOLDER, make=FUNCTION) loads its student."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownNameError(
                f"'{path}' is neither a model nor a module of Python that can be imported from"
                f" here.{did_you_mean(path, known)}"
            ) from error
        raise _broken(path, error) from error
    except Exception as error:
        raise _broken(path, error) from error
    function: Callable[..., nn.Module] | None = getattr(module, attribute, None)
    if not callable(function):
        raise UnknownNameError(
            f"the module '{path}' has no function '{attribute}'."
            f"{did_you_mean(attribute, [name for name in vars(module) if name[0] != '_'])}"
        )
    return function


def _broken(path: str, error: Exception) -> TeacherError:
    return TeacherError(
        f"the module '{path}' cannot be imported: {type(error).__name__}: {first_line(error)}"
    )
