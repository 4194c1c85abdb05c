"""Plugins that observe a run."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from torch import nn

import pbkd
from pbkd.config.load import load_config
from pbkd.core.events import (
    Event,
    Note,
)
from pbkd.core.files import read_json
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from pbkd.core.results import BlockResult, RunResult


def _vandalise(value: Any) -> None:
    """Change whatever can be changed in a result, however deep."""
    if isinstance(value, nn.Module):
        for tensor in value.state_dict().values():
            tensor.zero_()
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _vandalise(getattr(value, field.name))
            object.__setattr__(value, field.name, None)
    elif isinstance(value, tuple | list):
        for part in value:
            _vandalise(part)
    elif isinstance(value, dict):
        value.clear()


def test_observers_hear_of_blocks_and_of_the_run_and_change_neither(quick: list[str]) -> None:
    class Observer:
        blocks: list[BlockResult] = []  # noqa: RUF012
        runs: list[RunResult] = []  # noqa: RUF012

        @pbkd.hookimpl
        def block_finished(self, result: BlockResult) -> None:
            self.blocks.append(copy.deepcopy(result))
            _vandalise(result)

        @pbkd.hookimpl
        def run_finished(self, result: RunResult) -> None:
            self.runs.append(copy.deepcopy(result))
            _vandalise(result)

    registry = build_registry()
    observer = Observer()
    registry.add("observer", observer, version="", origin="here")
    result = run(load_config(quick), registry)
    assert observer.runs == [result]
    written = read_json(Path(result.folder) / "result.json")
    assert written == json.loads(json.dumps(result.to_dict()))
    assert all(block.builder["name"] == "low-rank" for block in result.blocks)
    assert result.student.network is not None
    assert all(bool(tensor.any()) for tensor in result.student.network.parameters())
    assert {b.name for b in observer.blocks} == {b.name for b in result.blocks}
    assert all(len(block.teacher_fed_losses) == 2 for block in observer.blocks)


@pytest.mark.parametrize("error", [ValueError("no\nnetwork"), SystemExit(3)])
def test_an_observer_that_raises_is_told_and_ends_nothing(
    quick: list[str], error: BaseException
) -> None:
    class Sick:
        @pbkd.hookimpl
        def block_finished(self) -> None:
            raise error

        @pbkd.hookimpl
        def run_finished(self) -> None:
            raise error

    class Sound:
        heard: list[str] = []  # noqa: RUF012

        @pbkd.hookimpl
        def block_finished(self, result: BlockResult) -> None:
            self.heard.append(result.name)

        @pbkd.hookimpl
        def run_finished(self, result: RunResult) -> None:
            self.heard.append(result.folder)

    Sound.heard = []
    registry = build_registry()
    for name, plugin in (("before", Sound()), ("sick", Sick()), ("after", Sound())):
        registry.add(name, plugin, version="", origin="here")
    events: list[Event] = []
    result = run(load_config([*quick, "finetune.epochs=0"]), registry, events.append)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    hooks = "block_finished", "run_finished"
    of_blocks, of_run = (f"The plugin 'sick' failed in {hook} ({text})." for hook in hooks)
    preparation, *notes = [event.text for event in events if isinstance(event, Note)]
    assert preparation.startswith("Images: ")
    assert notes == [of_blocks, of_run]
    assert result.notes.count(of_blocks) == 1
    assert of_blocks in (Path(result.folder) / "README.md").read_text()
    assert sorted(Sound.heard) == sorted(2 * [*(b.name for b in result.blocks), result.folder])
    assert pbkd.load(result.folder)
