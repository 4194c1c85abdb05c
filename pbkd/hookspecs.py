"""Every extension point of pbkd, in one sitting.

A plugin is a module (or any object) with functions marked `@pbkd.hookimpl`, installed under the
entry-point group `pbkd` or named by `--plugin`. The `register_*` hooks are called once, when the
registry is built, in the host process and in every worker. They hand over named classes; the
configuration picks by name. The other hooks observe, in the host process only;
what one of them raises is told, and the run goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.protocols import BlockBuilder, EnergyMeter, Launcher, Partitioner, Scheduler
    from pbkd.result import BlockResult, RunResult
    from pbkd.zoo import ZooModel

hookspec = pluggy.HookspecMarker("pbkd")
hookimpl = pluggy.HookimplMarker("pbkd")


@hookspec
def register_partitioners() -> Iterable[type[Partitioner]]:  # type: ignore[empty-body]
    """Hand over classes that cut a teacher into a chain (`partitioner=NAME`)."""


@hookspec
def register_builders() -> Iterable[type[BlockBuilder]]:  # type: ignore[empty-body]
    """Hand over classes that build a block's cheaper replacement (`builder=NAME`)."""


@hookspec
def register_schedulers() -> Iterable[type[Scheduler]]:  # type: ignore[empty-body]
    """Hand over classes that spread the blocks over workers (`scheduler=NAME`)."""


@hookspec
def register_meters() -> Iterable[type[EnergyMeter]]:  # type: ignore[empty-body]
    """Hand over classes that read energy sensors (`meters=[NAME, ...]`)."""


@hookspec
def register_launchers() -> Iterable[type[Launcher]]:  # type: ignore[empty-body]
    """Hand over classes that start workers (`launcher=NAME`)."""


@hookspec
def register_models() -> Iterable[ZooModel]:  # type: ignore[empty-body]
    """Hand over models that can be teachers (`teacher=NAME`, `pbkd zoo list`)."""


@hookspec
def block_finished(result: BlockResult) -> None:
    """Observe that a replacement has been trained; called while other blocks still train."""


@hookspec
def run_finished(result: RunResult) -> None:
    """Observe the result of a run; called after it has been written to the run folder."""
