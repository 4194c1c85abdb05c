"""The hooks of pbkd: all its extension points.

A plugin is a module (or any object) with functions marked `@pbkd.hookimpl`. It is installed under
the entry-point group `pbkd`, or named by `--plugin`.

The hooks return named classes and models; the configuration, or a command, selects them by name.
A plugin's hooks are called once, when it is loaded, in the host process and in every worker.

`CONTRACT` is the version of the hooks, the protocols and the types that they use. A module with
`PBKD_CONTRACT = 2`, or with several versions in a tuple, is loaded only by versions of pbkd that
have one of these contracts; a module without `PBKD_CONTRACT` is always loaded. A hook that this
version of pbkd does not have is skipped with a note, unless it resembles one that it has; in a
plugin that also states a newer contract it is skipped in any case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pbkd.protocols import (
        BlockBuilder,
        DataSource,
        EnergyMeter,
        Engine,
        Exporter,
        ImageAugmentation,
        Launcher,
        LearningRateSchedule,
        Loss,
        Observer,
        OptimiserBuilder,
        Partitioner,
        ReportSection,
        Scheduler,
        Selector,
        ZooModel,
    )

CONTRACT = 2

hookspec = pluggy.HookspecMarker("pbkd")
hookimpl = pluggy.HookimplMarker("pbkd")


@hookspec
def register_partitioners() -> Iterable[type[Partitioner]]:  # type: ignore[empty-body]
    """Register classes that cut a teacher into a chain of blocks (`partitioner=NAME`)."""


@hookspec
def register_builders() -> Iterable[type[BlockBuilder]]:  # type: ignore[empty-body]
    """Register classes that build a block's cheaper replacement (`builder=NAME`)."""


@hookspec
def register_losses() -> Iterable[type[Loss]]:  # type: ignore[empty-body]
    """Register classes that measure how far an output is from the teacher's.

    Selected by `distill.loss=NAME` and `finetune.loss=NAME`.
    """


@hookspec
def register_schedulers() -> Iterable[type[Scheduler]]:  # type: ignore[empty-body]
    """Register classes that distribute blocks over workers (`scheduler=NAME`)."""


@hookspec
def register_meters() -> Iterable[type[EnergyMeter]]:  # type: ignore[empty-body]
    """Register classes that read energy sensors (`meters=[NAME, ...]`)."""


@hookspec
def register_launchers() -> Iterable[type[Launcher]]:  # type: ignore[empty-body]
    """Register classes that start workers (`launcher=NAME`)."""


@hookspec
def register_models() -> Iterable[ZooModel]:  # type: ignore[empty-body]
    """Register models that can be teachers (`teacher=NAME`, `pbkd zoo list`)."""


@hookspec
def register_observers() -> Iterable[type[Observer]]:  # type: ignore[empty-body]
    """Register classes that follow a run while it goes on (`observers=[NAME, ...]`)."""


@hookspec
def register_data() -> Iterable[type[DataSource]]:  # type: ignore[empty-body]
    """Register classes that load images and labels (`data=NAME`)."""


@hookspec
def register_augmentations() -> Iterable[type[ImageAugmentation]]:  # type: ignore[empty-body]
    """Register classes that change training images at random (`augmentation=NAME`)."""


@hookspec
def register_optimisers() -> Iterable[type[OptimiserBuilder]]:  # type: ignore[empty-body]
    """Register classes that build optimisers.

    Selected by `distill.optimiser=NAME` and `finetune.optimiser=NAME`.
    """


@hookspec
def register_lr_schedules() -> Iterable[type[LearningRateSchedule]]:  # type: ignore[empty-body]
    """Register classes that change the learning rate.

    Selected by `distill.schedule=NAME` and `finetune.schedule=NAME`.
    """


@hookspec
def register_exporters() -> Iterable[type[Exporter]]:  # type: ignore[empty-body]
    """Register classes that write a student in a format (`pbkd export --format NAME`)."""


@hookspec
def register_selectors() -> Iterable[type[Selector]]:  # type: ignore[empty-body]
    """Register classes that select candidates within the target (`target.selector=NAME`)."""


@hookspec
def register_engines() -> Iterable[type[Engine]]:  # type: ignore[empty-body]
    """Register classes that execute networks whose latency counts (`target.engine=NAME`)."""


@hookspec
def register_sections() -> Iterable[type[ReportSection]]:  # type: ignore[empty-body]
    """Register classes that add a section to the report of a run.

    Selected by `pbkd report --section NAME`.
    """
