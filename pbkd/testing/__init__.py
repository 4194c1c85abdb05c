"""Conformance tests and test data for authors of plugins.

There is one check for each kind of plugin. A check raises `AssertionError`, or the error that a run
would raise, if the plugin breaks its contract. `check_plugin` runs the conformance tests for the
kinds of everything that a plugin registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pbkd.core.schedule import check_schedule
    from pbkd.models.chain import describe_blocks
    from pbkd.models.metrics import macs, parameters
    from pbkd.runs.events import record_event
    from pbkd.testing.augmentations import check_augmentation
    from pbkd.testing.builders import check_builder
    from pbkd.testing.data_sources import check_data
    from pbkd.testing.engines import check_engine
    from pbkd.testing.exporters import check_exporter
    from pbkd.testing.fakes import FakeClock, FakeMeter
    from pbkd.testing.launchers import check_launcher
    from pbkd.testing.losses import apply_loss, check_loss
    from pbkd.testing.meters import check_meter
    from pbkd.testing.models import check_model
    from pbkd.testing.observers import check_observer
    from pbkd.testing.optimisers import check_lr_schedule, check_optimiser
    from pbkd.testing.partitioners import check_partitioner
    from pbkd.testing.plugin import check_plugin, examine
    from pbkd.testing.schedulers import check_scheduler
    from pbkd.testing.sections import check_section
    from pbkd.testing.selectors import check_selector
    from pbkd.testing.tiny import (
        tiny_costs,
        tiny_data,
        tiny_segment,
        tiny_teacher,
        tiny_workers,
    )
    from pbkd.testing.tiny_run import tiny_events, tiny_result, tiny_run_info


__all__ = [
    "FakeClock",
    "FakeMeter",
    "apply_loss",
    "check_augmentation",
    "check_builder",
    "check_data",
    "check_engine",
    "check_exporter",
    "check_launcher",
    "check_loss",
    "check_lr_schedule",
    "check_meter",
    "check_model",
    "check_observer",
    "check_optimiser",
    "check_partitioner",
    "check_plugin",
    "check_schedule",
    "check_scheduler",
    "check_section",
    "check_selector",
    "describe_blocks",
    "examine",
    "macs",
    "parameters",
    "record_event",
    "tiny_costs",
    "tiny_data",
    "tiny_events",
    "tiny_result",
    "tiny_run_info",
    "tiny_segment",
    "tiny_teacher",
    "tiny_workers",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "FakeClock": "pbkd.testing.fakes",
        "FakeMeter": "pbkd.testing.fakes",
        "apply_loss": "pbkd.testing.losses",
        "describe_blocks": "pbkd.models.chain",
        "check_augmentation": "pbkd.testing.augmentations",
        "check_builder": "pbkd.testing.builders",
        "check_data": "pbkd.testing.data_sources",
        "check_engine": "pbkd.testing.engines",
        "check_exporter": "pbkd.testing.exporters",
        "check_launcher": "pbkd.testing.launchers",
        "check_loss": "pbkd.testing.losses",
        "check_lr_schedule": "pbkd.testing.optimisers",
        "check_meter": "pbkd.testing.meters",
        "check_model": "pbkd.testing.models",
        "check_observer": "pbkd.testing.observers",
        "check_optimiser": "pbkd.testing.optimisers",
        "check_partitioner": "pbkd.testing.partitioners",
        "check_plugin": "pbkd.testing.plugin",
        "check_schedule": "pbkd.core.schedule",
        "check_scheduler": "pbkd.testing.schedulers",
        "check_section": "pbkd.testing.sections",
        "check_selector": "pbkd.testing.selectors",
        "examine": "pbkd.testing.plugin",
        "macs": "pbkd.models.metrics",
        "parameters": "pbkd.models.metrics",
        "record_event": "pbkd.runs.events",
        "tiny_costs": "pbkd.testing.tiny",
        "tiny_data": "pbkd.testing.tiny",
        "tiny_events": "pbkd.testing.tiny_run",
        "tiny_result": "pbkd.testing.tiny_run",
        "tiny_run_info": "pbkd.testing.tiny_run",
        "tiny_segment": "pbkd.testing.tiny",
        "tiny_teacher": "pbkd.testing.tiny",
        "tiny_workers": "pbkd.testing.tiny",
    },
)
