"""Code of the user's own that a configuration names: plugins, and the function of a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import Registry


__all__ = ["is_user_function", "trusting_registry"]


def is_user_function(registry: Registry, name: str) -> bool:
    """Whether a teacher's name is `module:function`, not `family:variant` of a registered model."""
    family, colon, _ = name.partition(":")
    return bool(colon) and family not in registry.strategies["model"]


def trusting_registry(config: RunConfig) -> Registry:
    """Load the plugins of a configuration that is trusted, and let its teacher be imported."""
    return build_registry(config.plugins, functions=[config.teacher["name"]])
