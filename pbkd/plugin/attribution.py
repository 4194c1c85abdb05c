"""Attribution of failures: the strategy that failed and the plugin that provides it."""

from __future__ import annotations

from pbkd.errors import one_line
from pbkd.plugin.files import file_of_module
from pbkd.plugin.installed import plugin_points

__all__ = ["describe_failure", "describe_origin", "describe_strategy"]


def describe_failure(slot: str, strategy: object, method: str, error: BaseException) -> str:
    """Describe an exception that a strategy raised, without a final full stop.

    Args:
        slot: The strategy's slot, such as "scheduler".
        strategy: The strategy, an instance or a class.
        method: The method that failed, and on what, such as "accepts on Linear".
        error: The exception.

    Returns:
        Text such as "the scheduler 'mine' of the plugin 'mine' (dist 2.1) failed in schedule
        (KeyError: 'conv1')".
    """
    reason = one_line(error).rstrip(".")
    return f"{describe_strategy(slot, strategy)} failed in {method} ({reason})"


def describe_strategy(slot: str, strategy: object) -> str:
    """Describe a strategy by slot, name and plugin.

    Args:
        slot: The strategy's slot, such as "scheduler".
        strategy: The strategy, an instance or a class.

    Returns:
        Text such as "the scheduler 'mine' of the plugin 'mine' (dist 2.1)".
    """
    name = getattr(strategy, "name", _class_of(strategy).__name__)
    return f"the {slot} '{name}' of {describe_origin(strategy)}"


def describe_origin(strategy: object) -> str:
    """Describe the plugin whose module, or a submodule of it, defines a strategy's class.

    Args:
        strategy: The strategy, an instance or a class.

    Returns:
        Text such as "the plugin 'mine' (dist 2.1)", with the distribution's name and version. A
        plugin that is not installed is described by its module or the name of its file.
    """
    module = _class_of(strategy).__module__
    for point, name, version in plugin_points():
        if f"{module}.".startswith(f"{point.module}."):
            release = f" ({name} {version})" if name else ""
            return f"the plugin '{point.name}'{release}"
    if file := file_of_module(module):
        return f"the plugin '{file.name}'"
    return f"the plugin '{module}'"


def _class_of(strategy: object) -> type:
    return strategy if isinstance(strategy, type) else type(strategy)
