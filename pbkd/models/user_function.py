"""Networks of the user's own, named as `module:function`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from pbkd.config.options import MEMORY
from pbkd.errors import TeacherError, UnknownNameError
from pbkd.plugin.user_module import import_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


__all__ = ["import_function"]


def import_function(name: str, known: Iterable[str]) -> Callable[..., nn.Module]:
    """Import the function that `module:function` names, see `import_named`.

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
    function: Any = import_named(name, "model", known, TeacherError)
    if isinstance(function, nn.Module):  # the network itself, not what makes it
        return lambda: function
    if not callable(function):
        raise UnknownNameError(
            f"'{attribute}' of the module '{path}' is a {type(function).__name__}, but must be a"
            " function that builds a network, or the network."
        )
    factory: Callable[..., nn.Module] = function
    return factory
