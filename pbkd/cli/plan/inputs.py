"""Checked inputs of `pbkd plan`: worker counts, costs and schedulers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.cli.plan.options import DEFAULT_COUNTS
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.core.schedule import Worker
    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler

__all__ = ["PlanInputs", "check_link", "read_inputs", "worker_counts"]

_MAX_WORKERS = 4096


@dataclass(frozen=True)
class PlanInputs:
    """What predictions are made from.

    Attributes:
        table: Costs per step of every block.
        worker: The worker on which the costs were measured.
        schedulers: A factory for each registered scheduler, by name.
        selected: The scheduler that the configuration names; None for `auto`.
    """

    table: CostTable
    worker: Worker
    schedulers: Mapping[str, Callable[[], Scheduler]]
    selected: str | None


def worker_counts(text: str | None, cluster: Cluster | None) -> list[int]:
    """Parse `--workers` into ascending counts; by default 1, 2, 4, … all devices of a cluster.

    Raises:
        ConfigError: If the text is not a list of counts, or one is out of range.
    """
    from pbkd.planning.simulation.scaling import doubling_counts

    if cluster and text is None:
        return doubling_counts(cluster.size)
    text = DEFAULT_COUNTS if text is None else text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 5 for part in parts):
        raise ConfigError(f"--workers is '{text}', but must be numbers such as 1,2,4.")
    counts = sorted({int(part) for part in parts})
    most = cluster.size if cluster else _MAX_WORKERS
    if not 1 <= counts[0] <= counts[-1] <= most:
        which = " (the cluster's devices)" if cluster else ""
        raise ConfigError(f"--workers is '{text}', but must be from 1 to {most}{which}.")
    return counts


def check_link(link: float | None, cluster: Cluster | None) -> None:
    """Raise `ConfigError` for a bandwidth that is not positive, or given beside a cluster file."""
    if link is None:
        return
    if cluster:
        raise ConfigError("--link cannot be combined with --cluster: the file gives the links.")
    if not 0 < link < math.inf:
        raise ConfigError(f"--link is {link}, but must be a positive number of bytes per second.")


def read_inputs(
    overrides: Sequence[str],
    config_file: Path | None,
    plugins: Sequence[str],
    cost_file: Path | None,
    setting: str | None,
    trust: Sequence[Path] = (),
    compared: str | None = None,
) -> PlanInputs:
    """Load the configuration and the schedulers, and read the costs or measure them.

    Args:
        overrides: `key=value` pairs.
        config_file: A YAML file.
        plugins: Plugins beside the installed ones.
        cost_file: The costs; None to measure them.
        setting: The run of a file of published seconds.
        trust: Files that the user vouches for.
        compared: The schedulers, separated by commas; None for all.

    Raises:
        ConfigError: If an argument is wrong or the cost file cannot be read.
        UnknownNameError: If there is no such scheduler.
        TrustError: If the configuration names code that may not run.
    """
    from pbkd.pipeline.trust import open_config

    config, registry = open_config(overrides, file=config_file, plugins=plugins, trust=trust)
    name = str(config.scheduler["name"])
    selected = None if name == "auto" else name
    schedulers = _scheduler_factories(registry, config, selected)
    if compared is not None:
        schedulers = {name: schedulers[name] for name in _scheduler_names(compared, registry)}
    if cost_file is not None:
        table, worker = _read_costs(cost_file, setting, overrides)
    elif setting is not None:
        raise ConfigError("--setting selects a run of a cost file: give --costs too.")
    else:
        table, worker = _measure_costs(config, registry)
    return PlanInputs(table, worker, schedulers, selected)


def _scheduler_factories(
    registry: Registry, config: RunConfig, selected: str | None
) -> dict[str, Callable[[], Scheduler]]:
    """Return a factory per registered scheduler; the selected one gets its configured options."""
    choices: dict[str, Any] = {name: {"name": name} for name in registry.strategies["scheduler"]}
    if selected:
        registry.find("scheduler", selected)
        choices[selected] = config.scheduler
    return {name: partial(registry.create, "scheduler", choice) for name, choice in choices.items()}


def _scheduler_names(text: str, registry: Registry) -> list[str]:
    """Parse `--schedulers`; every name is registered, and stands once."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(names):
        raise ConfigError(f"--schedulers is '{text}', but must be names such as greedy,pipeline.")
    if "auto" in names:
        raise ConfigError("--schedulers names 'auto', which is every scheduler: omit the option.")
    for name in names:
        registry.find("scheduler", name)
    return names


def _read_costs(
    file: Path, setting: str | None, overrides: Sequence[str]
) -> tuple[CostTable, Worker]:
    from pbkd.config.load import read_overrides
    from pbkd.core.schedule import Worker
    from pbkd.planning.cost_files import read_costs

    for key in read_overrides(overrides):
        if key != "scheduler":
            raise ConfigError(f"--costs loads no model or data, so '{key}' has no effect: omit it.")
    return read_costs(file, setting), Worker(0)


def _measure_costs(config: RunConfig, registry: Registry) -> tuple[CostTable, Worker]:
    """Load teacher and data and measure; the selected scheduler does not affect the costs.

    Other workers are like the one that measured, but each is reached by a link.
    """
    from pbkd.config.schema import RunConfig
    from pbkd.pipeline.plan import cost_table
    from pbkd.pipeline.predict_phases import plan_whole_run

    planned_run = plan_whole_run(replace(config, scheduler=RunConfig().scheduler), registry)
    return cost_table(planned_run), replace(planned_run.plan.workers[0], shares_memory=False)
