"""Observers of a run: what they hear, and that nothing of the run depends on them."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from torch import nn

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import EpochDone, Event, Note, PhaseStarted, PlanMade, RunFinished
from pbkd.core.files import read_json
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pbkd.core.results import BlockResult, RunResult
    from pbkd.plugin.registry import Registry

HEARD: list[tuple[str, Any]] = []


@dataclass(frozen=True)
class Recorder:
    """Keeps copies of what it hears."""

    name: ClassVar[str] = "recorder"
    last: list[Any] = field(default_factory=list, init=False)

    def run_started(self, run: pbkd.RunInfo) -> None:
        HEARD.append(("run_started", copy.deepcopy(run)))

    def event(self, event: Event, run: pbkd.RunInfo) -> None:
        assert run == HEARD[0][1]
        HEARD.append(("event", event))

    def block_finished(self, result: BlockResult, run: pbkd.RunInfo) -> None:
        assert run == HEARD[0][1]
        HEARD.append(("block_finished", result))

    def run_finished(self, result: RunResult, run: pbkd.RunInfo) -> None:
        assert run == HEARD[0][1]
        HEARD.append(("run_finished", copy.deepcopy(result)))


def _vandalise(value: Any) -> None:
    """Change whatever can be changed in a result, however deep."""
    if isinstance(value, nn.Module):
        for tensor in value.state_dict().values():
            tensor.zero_()
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            _vandalise(getattr(value, each.name))
            object.__setattr__(value, each.name, None)
    elif isinstance(value, tuple | list):
        for part in value:
            _vandalise(part)
    elif isinstance(value, dict):
        value.clear()


class Vandal:
    """Changes what it hears, forks, prints, and fails to handle results."""

    name = "vandal"

    def run_started(self, run: pbkd.RunInfo) -> None:
        print("noise")
        _vandalise(run)

    def event(self, event: Event, run: pbkd.RunInfo) -> None:  # noqa: ARG002
        _vandalise(event)

    def block_finished(self, result: BlockResult, run: pbkd.RunInfo) -> None:  # noqa: ARG002
        _vandalise(result)
        raise ValueError("no\nblocks")

    def run_finished(self, result: RunResult, run: pbkd.RunInfo) -> None:  # noqa: ARG002
        _vandalise(result)
        os.fork()
        raise SystemExit(3)


class Shy:
    """Is installed, but not asked for."""

    name = "shy"

    def run_started(self, run: pbkd.RunInfo) -> None:  # noqa: ARG002
        HEARD.append(("shy", None))


class Plugin:
    @pbkd.hookimpl
    def register_observers(self) -> list[type]:
        return [Recorder, Vandal, Shy]


def registry() -> Registry:
    found = build_registry()
    found.add("plugin", Plugin(), version="", origin="here")
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork
def test_observers_hear_of_a_run_and_change_nothing_of_it(quick: list[str]) -> None:
    HEARD.clear()
    events: list[Event] = []
    config = load_config([*quick, "observers=[vandal, recorder]"])
    result = run(config, registry(), events.append)
    folder = Path(result.folder)

    (kind, info), *_, (last, heard) = HEARD
    assert (kind, last, "shy" in dict(HEARD)) == ("run_started", "run_finished", False)
    assert info.folder == folder
    assert info.identity == read_json(folder / "identity.json")
    assert info.plan == read_json(folder / "plan.json")
    assert info.configuration["builder"] == {"name": "low-rank", "stem": True}
    assert info.configuration["distill"]["epochs"] == 2

    assert heard == result
    assert read_json(folder / "result.json") == json.loads(json.dumps(result.to_dict()))
    assert result.student.network is not None
    assert all(bool(tensor.any()) for tensor in result.student.network.parameters())
    assert pbkd.load(folder)

    blocks = [value for name, value in HEARD if name == "block_finished"]
    assert {block.name for block in blocks} == {block.name for block in result.blocks}
    assert {block.replaced for block in blocks} == {None}
    assert {block.replaced for block in result.blocks} == {True, False}
    assert all(len(block.teacher_fed_losses) == 2 for block in blocks)

    live = [value for name, value in HEARD if name == "event"]
    expected = [
        dataclasses.replace(event, plan=None) if isinstance(event, PlanMade) else event
        for event in events
        if not isinstance(event, RunFinished)
    ]
    assert live == expected[: len(live)]
    assert live[0] == events[0]
    assert isinstance(live[0], PhaseStarted)
    assert any(isinstance(event, EpochDone) for event in live)
    late = expected[len(live) :]
    who = f"The observer 'vandal' of the plugin '{__name__}' failed in"
    of_blocks, of_run = f"{who} block_finished (ValueError: no blocks).", f"{who} run_finished ("
    assert [event for event in live if isinstance(event, Note) and event.text == of_blocks]
    assert all(isinstance(event, Note) and event.text.startswith(of_run) for event in late)
    assert result.notes.count(of_blocks) == 1
    assert of_blocks in (folder / "README.md").read_text()
