"""`PBKD_DISABLE_PLUGINS`."""

from __future__ import annotations

import pytest

from pbkd.errors import PluginError, UnknownNameError
from pbkd.plugin.registry import build_registry
from tests.unit.plugin.sources import OWN, Install


def test_plugins_can_be_disabled(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("thrifty", "import no_such_module")
    monkeypatch.setenv("PBKD_DISABLE_PLUGINS", "thrifty, greedy,")
    registry = build_registry()
    assert (registry.broken, registry.notes) == ([], [])
    assert list(registry.plugins) == [name for name in OWN if name != "greedy"]
    with pytest.raises(UnknownNameError, match="Disabled by PBKD_DISABLE_PLUGINS: greedy, thrifty"):
        registry.find("scheduler", "greedy")
    with pytest.raises(PluginError, match="^the plugin 'greedy' is disabled by PBKD_DISABLE_PLUG"):
        build_registry(["greedy"])


def test_a_disabled_plugin_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBKD_DISABLE_PLUGINS", "gredy")
    registry = build_registry()
    assert registry.notes == [
        "PBKD_DISABLE_PLUGINS names 'gredy', but no such plugin is installed."
    ]
    assert list(registry.plugins) == OWN
