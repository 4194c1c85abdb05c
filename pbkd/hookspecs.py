"""Every extension point of pbkd, in one sitting.

A plugin is a module (or any object) with functions marked `@pbkd.hookimpl`, installed under the
entry-point group `pbkd` or named by `--plugin`. The `register_*` hooks are called once, when the
registry is built, in the host process and in every worker. They hand over named classes; the
configuration picks by name. The other hooks observe, in the host process only: each plugin is given
a copy of the result, what it raises is told, and the run goes on.

`CONTRACT` is the version of all this: of the hooks, of the protocols, of what they are given. A
module that says `PBKD_CONTRACT = 1` is loaded by a pbkd whose contract is 1, and set aside, with
the reason, by any other. One that says nothing is loaded by every pbkd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.core.results import BlockResult, RunResult
    from pbkd.protocols import (
        BlockBuilder,
        EnergyMeter,
        Launcher,
        Loss,
        Partitioner,
        Scheduler,
        ZooModel,
    )

CONTRACT = 1

hookspec = pluggy.HookspecMarker("pbkd")
hookimpl = pluggy.HookimplMarker("pbkd")


@hookspec
def register_partitioners() -> Iterable[type[Partitioner]]:  # type: ignore[empty-body]
    """Hand over classes that cut a teacher into a chain (`partitioner=NAME`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_builders() -> Iterable[type[BlockBuilder]]:  # type: ignore[empty-body]
    """Hand over classes that build a block's cheaper replacement (`builder=NAME`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_losses() -> Iterable[Loss]:  # type: ignore[empty-body]
    """Hand over losses that replacements are trained with (`distill.loss=NAME`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_schedulers() -> Iterable[type[Scheduler]]:  # type: ignore[empty-body]
    """Hand over classes that spread the blocks over workers (`scheduler=NAME`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_meters() -> Iterable[type[EnergyMeter]]:  # type: ignore[empty-body]
    """Hand over classes that read energy sensors (`meters=[NAME, ...]`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_launchers() -> Iterable[type[Launcher]]:  # type: ignore[empty-body]
    """Hand over classes that start workers (`launcher=NAME`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def register_models() -> Iterable[ZooModel]:  # type: ignore[empty-body]
    """Hand over models that can be teachers (`teacher=NAME`, `pbkd zoo list`).

    Called by `build_registry`, once, as the plugin is loaded: in the host process and in every
    worker.
    """


@hookspec
def block_finished(result: BlockResult) -> None:
    """Observe that a replacement has been trained, while other blocks still train.

    Called by `run`, once for each candidate as it is finished or has failed for good, and for those
    that were finished before again where a run is resumed: in the host process, maybe from a thread
    beside the one that started the run.
    """


@hookspec
def run_finished(result: RunResult) -> None:
    """Observe the result of a run.

    Called by `run`, once, after the result has been written to the run folder: in the host process.
    """
