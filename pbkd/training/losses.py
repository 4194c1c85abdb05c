"""Creation of the loss that a configuration selects, and the checks of what it declares."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from torch import nn

from pbkd.errors import PLUGIN_FAILURES, PluginError
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.plugin.signatures import accepts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss


__all__ = ["check_declaration", "create_loss"]


def create_loss(registry: Registry, choice: Mapping[str, Any], key: str = "distill.loss") -> Loss:
    """Create the loss that a choice of the configuration names.

    Args:
        registry: The plugins.
        choice: Its name and options.
        key: The key of the choice, for messages.

    Raises:
        UnknownNameError: There is no such loss.
        ConfigError: An option is invalid.
        PluginError: The loss does not have the methods and attributes of a loss.
    """
    loss: Loss = registry.create("loss", choice, key)
    check_declaration(loss)
    return loss


def check_declaration(loss: Loss) -> None:
    """Check the methods and attributes of a loss.

    Raises:
        PluginError: One is missing or of the wrong kind.
    """
    try:
        fault = _fault(loss)
    except PLUGIN_FAILURES as error:
        failure = describe_failure("loss", loss, "its attributes", error)
        raise PluginError(f"{failure}.") from error
    if fault:
        raise PluginError(f"{describe_strategy('loss', loss)} is faulty: {fault}.")


def _fault(loss: Loss) -> str | None:
    takes_context = accepts(loss.error, "context")
    if not _takes(loss.error, 2, {"context": None} if takes_context else {}):
        return "error must take (output, target), or (output, target, context) by these names"
    scale = getattr(loss, "scale", None)
    if scale is not None and not (callable(scale) and _takes(scale, 1, {})):
        return "scale must be a method that takes the target, or None"
    additive, features = getattr(loss, "additive", True), getattr(loss, "features", ())
    if not isinstance(additive, bool):
        return f"additive is {additive!r}, not True or False"
    if not isinstance(features, (tuple, list)) or not all(isinstance(f, str) for f in features):
        return f"features is {features!r}, not a tuple of names such as ('relu',)"
    if features and not takes_context:
        return "it names features, but its method error takes no argument `context`"
    if isinstance(loss, nn.Module) and any(True for _ in loss.parameters()):
        return "it has parameters, which nothing trains: make them options"
    return None


def _takes(function: Callable[..., object], positional: int, keywords: Mapping[str, None]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of some functions that are written in C
        return True
    try:
        signature.bind(*[None] * positional, **keywords)
    except TypeError:
        return False
    return True
