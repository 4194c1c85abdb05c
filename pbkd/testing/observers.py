"""Conformance tests of observers."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pbkd.plugin.observer_methods import observed_methods
from pbkd.testing.tiny_run import tiny_events, tiny_result, tiny_run_info

__all__ = ["check_observer"]


def check_observer(observer: object, folder: Path | None = None) -> None:
    """Pass a small run to an observer, in a folder that exists.

    No method may raise. What the methods get are `tiny_run_info`, `tiny_events` and `tiny_result`.

    Args:
        observer: The observer, as it is at the begin of a run.
        folder: The run folder (default: a temporary one).

    Raises:
        AssertionError: A method raises; the message names it and the event.
    """
    with TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        run = tiny_run_info(place)
        result = tiny_result(place)
        _call(observer, "run_started", run)
        for event in tiny_events(place):
            _call(observer, "event", event, run)
        undecided = replace(result.blocks[0], replaced=None, solo_drop=None, student_fed_losses=())
        _call(observer, "block_finished", undecided, run)
        _call(observer, "run_finished", result, run)


def _call(observer: object, name: str, *arguments: object) -> None:
    """Call a method, if the observer has it, with copies."""
    if name not in observed_methods(type(observer)):
        return
    try:
        getattr(observer, name)(*copy.deepcopy(arguments))
    except Exception as error:
        what = type(arguments[0]).__name__
        raise AssertionError(f"{name} of {what} raises {type(error).__name__}: {error}") from error
