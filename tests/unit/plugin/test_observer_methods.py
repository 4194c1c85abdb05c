"""Classes that plugins register as observers: what they must have, and their options."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from pbkd import RunInfo, hookimpl
from pbkd.core.events import Event
from pbkd.errors import ConfigError, PluginError, UnknownNameError
from pbkd.plugin.observer_methods import observer_fault
from pbkd.plugin.observers import create_observers
from pbkd.plugin.registry import build_registry


def made(**members: Any) -> type:
    return type("Made", (), {"name": "made", **members})


async def _asynchronous(self: object, event: Event, run: RunInfo) -> None:
    """Never awaited."""


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({}, "has none of the methods run_started, event, block_finished, run_finished"),
        ({"event": lambda self: None}, "must be event(self, event, run)"),  # noqa: ARG005
        ({"event": lambda self, run, event: None}, "must be event(self, event, run)"),  # noqa: ARG005
        ({"event": lambda self, event, run, *, more: None}, "must be event("),  # noqa: ARG005
        ({"run_started": lambda run: None}, "must be run_started(self, run)"),  # noqa: ARG005
        ({"event": _asynchronous}, "asynchronous method or generator event"),
        ({"event": 3}, "has an attribute event that is not the method"),
        ({"run_finish": lambda self, result, run: None}, "name it run_finished"),  # noqa: ARG005
        ({"event": lambda self, *rest: None}, None),  # noqa: ARG005
        ({"event": lambda self, what, of, more=1: None}, None),  # noqa: ARG005
        ({"run_started": staticmethod(lambda run: None)}, None),  # noqa: ARG005
    ],
)
def test_classes_that_cannot_observe_are_told_why(
    members: dict[str, Any], fault: str | None
) -> None:
    found = observer_fault(made(**members))
    assert found is None if fault is None else fault in str(found)


def test_hooks_of_contract_1_are_told_what_to_write() -> None:
    class Old:
        @hookimpl
        def run_finished(self, result: Any) -> None:
            """Observe nothing."""

    with pytest.raises(PluginError, match="class with a method run_finished in register_"):
        build_registry().add("old", Old(), version="", origin="here")


def test_names_and_options_are_checked() -> None:
    class Plugin:
        @hookimpl
        def register_observers(self) -> list[type]:
            def start(self: Any, every: int = 1) -> None:
                self.every = every
                if every > 9:
                    sys.exit(3)

            return [made(event=lambda self, event, run: None, __init__=start)]  # noqa: ARG005

    registry = build_registry()
    registry.add("plugin", Plugin(), version="", origin="here")
    first, second = create_observers(registry, ["made", {"name": "made", "every": 3}])
    assert (cast(Any, first).every, cast(Any, second).every) == (1, 3)
    with pytest.raises(UnknownNameError, match="unknown observer 'mad'. Did you mean 'made'?"):
        create_observers(registry, ["mad"])
    with pytest.raises(ConfigError, match=r"'observers\.1\.every'"):
        create_observers(registry, ["made", {"name": "made", "every": "often"}])
    with pytest.raises(PluginError, match=r"failed in __init__ \(SystemExit: 3\)"):
        create_observers(registry, [{"name": "made", "every": 10}])
