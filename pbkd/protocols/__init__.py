"""Protocols: what the classes and models that plugins register must provide.

Every strategy is a frozen dataclass with a class attribute `name` and the methods below. Its fields
are its options: `scheduler=mine scheduler.patience=3` sets the field `patience` of the scheduler
`mine`.

A field that is a strategy itself names its slot, as in `field(metadata={"slot": "builder"})`: its
value in a configuration is a name, or a mapping of a `name` and options, and the strategy gets an
instance.
"""

from __future__ import annotations

from pbkd.protocols.builder import BlockBuilder as BlockBuilder
from pbkd.protocols.builder import Built as Built
from pbkd.protocols.data_source import DataSource as DataSource
from pbkd.protocols.engine import Engine as Engine
from pbkd.protocols.exporter import Exporter as Exporter
from pbkd.protocols.exporter import ExportImages as ExportImages
from pbkd.protocols.exporter import ExportSubject as ExportSubject
from pbkd.protocols.image_augmentation import ImageAugmentation as ImageAugmentation
from pbkd.protocols.launcher import Launcher as Launcher
from pbkd.protocols.loss import Loss as Loss
from pbkd.protocols.loss import LossContext as LossContext
from pbkd.protocols.meter import EnergyMeter as EnergyMeter
from pbkd.protocols.meter import EnergyReading as EnergyReading
from pbkd.protocols.observer import Observer as Observer
from pbkd.protocols.observer import RunInfo as RunInfo
from pbkd.protocols.optimiser import LearningRateSchedule as LearningRateSchedule
from pbkd.protocols.optimiser import OptimiserBuilder as OptimiserBuilder
from pbkd.protocols.partitioner import Partitioner as Partitioner
from pbkd.protocols.scheduler import Scheduler as Scheduler
from pbkd.protocols.section import ReportedPlan as ReportedPlan
from pbkd.protocols.section import ReportedRun as ReportedRun
from pbkd.protocols.section import ReportSection as ReportSection
from pbkd.protocols.selector import BlockOption as BlockOption
from pbkd.protocols.selector import Selector as Selector
from pbkd.protocols.zoo_model import ZooModel as ZooModel

__all__ = [
    "BlockBuilder",
    "BlockOption",
    "Built",
    "DataSource",
    "EnergyMeter",
    "EnergyReading",
    "Engine",
    "ExportImages",
    "ExportSubject",
    "Exporter",
    "ImageAugmentation",
    "Launcher",
    "LearningRateSchedule",
    "Loss",
    "LossContext",
    "Observer",
    "OptimiserBuilder",
    "Partitioner",
    "ReportSection",
    "ReportedPlan",
    "ReportedRun",
    "RunInfo",
    "Scheduler",
    "Selector",
    "ZooModel",
]
