"""The contract of hooks and methods in columns: what their signatures do not say."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd import hookspecs
from pbkd.plugin.slots import PROTOCOLS, SLOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


__all__ = ["CALLS", "Call", "called_functions", "contract_markdown"]


@dataclass(frozen=True)
class Call:
    """How pbkd calls a hook, or a method of what a hook registers.

    Attributes:
        by: Who calls it.
        when: When, and how often.
        process: In which processes.
        failure: What follows if it raises, or if its answer breaks the protocol.
        since: The first contract that has it in this form.
        signature: Arguments and result of what no protocol declares: functions that a dataclass
            holds, and methods that a strategy may have or not.
        on_request: The argument that the method also gets if it has a parameter of that name.
    """

    by: str
    when: str
    process: str
    failure: str
    since: int
    signature: str = ""
    on_request: str = ""


_HEADS = (
    *("hook or method", "signature", "called by", "when", "process", "if it fails"),
    "since contract",
)
_HOST = "host"
_THREAD = "host, in a thread of its own"
_BOTH = "host, every worker"
_RUN = "run"
_STOPS = "the run stops"
_NOTE = "a note; the run continues"
_OLD_HOOKS = (
    *("register_partitioners", "register_builders", "register_losses", "register_schedulers"),
    *("register_meters", "register_launchers", "register_models"),
)
_EXPORT = "`pbkd export`, `result.export`"
_LOADED = "all that loads plugins", "once, when the plugin is loaded", _BOTH
_NOT_LOADED = "an installed plugin is listed as broken; one of `--plugin` stops the command"
_LOSS = (
    "training, fine-tuning",
    "each step; a trial in planning",
    _BOTH,
    "planning: the run stops; training of a block: the block fails; fine-tuning: the run stops",
    2,
)

CALLS: dict[str, Call] = {
    **{h: Call(*_LOADED, _NOT_LOADED, 1 if h in _OLD_HOOKS else 2) for h in SLOTS.values()},
    "Partitioner.accepts": Call(
        "run, `load`, `pbkd cut`",
        "with `partitioner=auto`, until a partitioner accepts the teacher",
        _BOTH,
        _STOPS,
        1,
    ),
    "Partitioner.partition": Call(
        "run, `load`, `pbkd cut`",
        "once the teacher is loaded",
        _BOTH,
        "the run stops; with `partitioner=auto`, a fallback cuts where the chain is wrong",
        1,
    ),
    "BlockBuilder.build": Call(
        "run, `load`, `pbkd cut`",
        "per block: in planning, with and without calibration, then where it is trained or loaded",
        _BOTH,
        _STOPS,
        2,
        on_request="calibration",
    ),
    "Loss.error": Call(*_LOSS, on_request="context"),
    "Loss.scale": Call(*_LOSS, "(self, target: Tensor) -> Tensor"),
    "Scheduler.schedule": Call(
        "run, `pbkd plan`",
        "in planning: once, or per number of workers with `workers=auto`",
        _HOST,
        "the run stops; with `scheduler=auto` or in `pbkd plan`, the others are asked",
        2,
        on_request="workload",
    ),
    "EnergyMeter.open": Call(
        "run, `pbkd bench`, `pbkd doctor`",
        "once, before planning; the function it yields about once a second",
        "host, in a thread of its own; for `pbkd bench` its first worker",
        "its joules are missing, with the reason; the run continues",
        1,
    ),
    "Launcher.launch": Call(
        _RUN, "once per phase that trains blocks", _HOST, "the run stops and can be resumed", 1
    ),
    "Launcher.workers": Call(
        _RUN,
        "in planning, if there is such a method",
        _HOST,
        _STOPS,
        1,
        "(self, request: WorkerRequest) -> Sequence[Worker]",
    ),
    "ZooModel.build": Call(
        "run, `load`, `pbkd cut`, `pbkd zoo`",
        "once per network",
        _BOTH,
        _STOPS,
        1,
        "(**options) -> nn.Module",
    ),
    "ZooModel.variants": Call(
        "`pbkd zoo`, `pbkd cut`",
        "to list a family",
        _HOST,
        "the command stops",
        1,
        "() -> Sequence[str]",
    ),
    "Observer.run_started": Call(
        _RUN, "once, before the other methods; again on resuming", _THREAD, _NOTE, 2
    ),
    "Observer.event": Call(_RUN, "once per event, if the backlog is not full", _THREAD, _NOTE, 2),
    "Observer.block_finished": Call(_RUN, "once per candidate", _THREAD, _NOTE, 2),
    "Observer.run_finished": Call(_RUN, "once, when the result is written", _THREAD, _NOTE, 2),
    "DataSource.load": Call("run, `pbkd zoo`", "once, before planning", _BOTH, _STOPS, 2),
    "ImageAugmentation.augment": Call(
        "training, fine-tuning",
        "once per batch; a trial in planning",
        _BOTH,
        _STOPS,
        2,
        on_request="labels",
    ),
    "OptimiserBuilder.build": Call(
        "training, fine-tuning, `pbkd zoo train`",
        "once per candidate, once for fine-tuning; trials in planning",
        _BOTH,
        _STOPS,
        2,
    ),
    "LearningRateSchedule.factor": Call(
        "training, fine-tuning, `pbkd zoo train`",
        "each step; all steps, or 10,000 of them, in planning",
        _BOTH,
        _STOPS,
        2,
    ),
    "Exporter.write": Call(_EXPORT, "once", _HOST, "the command stops", 2),
    "Exporter.read": Call(_EXPORT, "once, after `write`", _HOST, "the command stops", 2),
    "Selector.select": Call(
        _RUN, "in planning, and when the candidates are scored", _HOST, _STOPS, 2
    ),
    "Engine.prepare": Call(
        _RUN,
        "if the target limits latency: for each network, in planning, when the candidates are"
        " scored, and at the end",
        _HOST,
        _STOPS,
        2,
    ),
    "Engine.read": Call(
        "`pbkd latency --file`",
        "for each file and batch size",
        _HOST,
        "the command stops",
        2,
        signature="(path: Path, threads: int) -> Callable[[Tensor], Tensor]",
    ),
    "ReportSection.render": Call(
        "`pbkd report`", "once", _HOST, "a note in the report, which is without the section", 2
    ),
}
"""The row of each hook and of each method; a test demands that none is missing."""


def called_functions() -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the hooks and the methods of the protocols, by the names of their rows in `CALLS`."""
    for name in dict.fromkeys([*SLOTS.values(), *_declared(hookspecs)]):
        yield name, getattr(hookspecs, name)
    for protocol in PROTOCOLS.values():
        for name in _declared(protocol):
            yield f"{protocol.__name__}.{name}", getattr(protocol, name)


def _declared(scope: object) -> Iterator[str]:
    """Yield the public functions that a module or class itself defines."""
    home = getattr(scope, "__module__", hookspecs.__name__)
    for name, member in vars(scope).items():
        if inspect.isfunction(member) and member.__module__ == home and name[0] != "_":
            yield name


def contract_markdown(signatures: Mapping[str, str]) -> str:
    """Write the contract as a table.

    Args:
        signatures: Arguments and result of each of `called_functions`.

    Returns:
        A Markdown table with a row for each entry of `CALLS`.
    """
    rows = [
        (f"`{name}`", _signature(signatures.get(name, call.signature), call), *_cells(call))
        for name, call in CALLS.items()
    ]
    lines = [_HEADS, ("---",) * len(_HEADS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cells(call: Call) -> tuple[str, ...]:
    return call.by, call.when, call.process, call.failure, str(call.since)


def _signature(text: str, call: Call) -> str:
    """Write a signature in a cell of a table, where a bar would end the cell."""
    more = f"; if it has a parameter `{call.on_request}`, that too" if call.on_request else ""
    return f"`{text}`".replace("|", "\\|") + more
