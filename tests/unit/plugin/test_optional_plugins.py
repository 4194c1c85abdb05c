"""Plugins that are loaded by name only, since they need packages that pbkd does not install."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.errors import PluginError, UnknownNameError
from pbkd.plugin.registry import build_registry
from tests.paths import ROOT

pytest.importorskip("tensorboard", reason="TensorBoard is not installed")

import pbkd_tensorboard


def test_it_is_loaded_only_where_it_is_asked_for() -> None:
    assert "tensorboard" not in build_registry().plugins
    registry = build_registry([pbkd_tensorboard.__name__])
    assert registry.find("observer", "tensorboard") is pbkd_tensorboard.TensorBoardObserver


def test_without_tensorly_tucker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(PluginError, match=r"pip install 'pbkd\[tucker\]'"):
        build_registry([str(ROOT / "plugins" / "pbkd-tucker" / "pbkd_tucker.py")])


def test_its_name_alone_says_how_to_load_it() -> None:
    with pytest.raises(UnknownNameError, match="It is loaded by --plugin pbkd_tensorboard"):
        build_registry().find("observer", "tensorboard")


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(PluginError, match=r"pip install 'pbkd\[tensorboard\]'"):
        build_registry([str(Path(pbkd_tensorboard.__file__))])
