"""`pbkd plan`: how long it would take, on how many workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pbkd.cli.arguments import ConfigFile, Overrides, Plugins

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.core.schedule import Worker
    from pbkd.planning.cluster import Cluster
    from pbkd.planning.cost_files import CostTable
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler

_MAX_WORKERS = 4096
_COUNTS = "1,2,4,8"


def plan(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Numbers of workers to predict for, separated by commas; of a cluster's devices"
            " the first so many (otherwise: 1, 2, 4 … all).",
            show_default=_COUNTS,
        ),
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(help="Simulate on the nodes of this file (docs/cluster.md)."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Only compare with what was measured: a run's folder, or published seconds."
        ),
    ] = None,
    costs: Annotated[
        Path | None,
        typer.Option(help="Predict from a file of costs; load and measure nothing."),
    ] = None,
    save_costs: Annotated[
        Path | None, typer.Option(help="Write the costs to this file, for --costs.")
    ] = None,
    setting: Annotated[
        str | None,
        typer.Option(
            help="Which run of a file of published seconds: a part of its setting's text, with @N"
            " behind it for the record of N workers (otherwise: of the most)."
        ),
    ] = None,
    link: Annotated[
        float | None,
        typer.Option(help="Bytes per second between any two workers.", show_default="1e9"),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the Gantt chart into this SVG file.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every prediction to this file.")] = None,
) -> None:
    """Predict seconds, speed-up, idle share and bytes moved, for every scheduler; train nothing.

    Costs are measured here, or read from a file; every worker is taken to be like that one, or
    like the devices of the cluster, on which every step is then simulated.
    """
    from pbkd.config.load import load_config
    from pbkd.planning.cluster import read_cluster
    from pbkd.planning.cost_files import write_costs
    from pbkd.plugin.registry import build_registry

    nodes = read_cluster(cluster) if cluster else None
    if against:
        _compare(against, nodes, setting)
        return
    counts = _counts(workers, nodes, link)
    registry = build_registry(plugin or [])
    given = overrides or []
    settings = load_config(given, file=config, plugins=registry.provided(plugin or []))
    wanted = None if settings.scheduler["name"] == "auto" else str(settings.scheduler["name"])
    schedulers = _schedulers(registry, settings, wanted)
    table, worker = _costs(costs, setting, settings, given, registry)
    if save_costs:
        write_costs(save_costs, table)
    files = (svg, json)
    if nodes:
        _simulate(nodes, counts, table, schedulers, files)
        return
    worker = replace(worker, bandwidth=_checked(link)) if link is not None else worker
    _predict(table, worker, counts, schedulers, wanted, files)


def _predict(
    table: CostTable,
    worker: Worker,
    counts: Sequence[int],
    schedulers: Mapping[str, Callable[[], Scheduler]],
    wanted: str | None,
    files: tuple[Path | None, Path | None],
) -> None:
    """Show what every scheduler is predicted to take on workers that are all alike."""
    from pbkd.cli.forecast import chart, draw, show_forecast, write_forecast
    from pbkd.planning.prediction import predict

    svg, json = files
    rows = [
        row
        for count in counts
        for row in predict(
            table.costs,
            [replace(worker, rank=rank) for rank in range(count)],
            table.workload,
            schedulers,
        )
    ]
    show_forecast(table, worker, rows)
    drawn = chart(rows, wanted)
    if drawn:
        draw(drawn, table, svg)
    if json:
        write_forecast(json, table, worker, rows)


def _simulate(
    cluster: Cluster,
    counts: Sequence[int],
    table: CostTable,
    schedulers: Mapping[str, Callable[[], Scheduler]],
    files: tuple[Path | None, Path | None],
) -> None:
    """Show what every scheduler takes on the first devices of a cluster."""
    from pbkd.cli.forecast import draw
    from pbkd.cli.scaling import show_scaling, write_scaling
    from pbkd.planning.simulation.scaling import quickest, scale

    svg, json = files
    rows = scale(table, cluster, counts, schedulers)
    show_scaling(table, cluster, rows)
    best = quickest(rows)
    if svg and best:
        draw(best.prediction, table, svg)
    if json:
        write_scaling(json, table, cluster, rows)


def _compare(paths: Sequence[Path], cluster: Cluster | None, setting: str | None) -> None:
    """Show how far off the simulation of runs is that were measured."""
    from pbkd.cli.scaling import show_against
    from pbkd.pipeline.against import against

    show_against([row for path in paths for row in against(path, cluster, setting)])


def _counts(text: str | None, cluster: Cluster | None, link: float | None) -> list[int]:
    """Return the numbers of workers; of a cluster 1, 2, 4 … and all, if not given."""
    from pbkd.cli.scaling import scaling_counts
    from pbkd.errors import ConfigError

    if cluster and link is not None:
        raise ConfigError("the cluster file gives the links: leave --link out.")
    if cluster and text is None:
        return scaling_counts(cluster.size)
    text = _COUNTS if text is None else text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 5 for part in parts):
        raise ConfigError(f"--workers is '{text}', but must be numbers such as 1,2,4.")
    counts = sorted({int(part) for part in parts})
    most = cluster.size if cluster else _MAX_WORKERS
    if not 1 <= counts[0] <= counts[-1] <= most:
        which = " (the cluster's devices)" if cluster else ""
        raise ConfigError(f"--workers is '{text}', but must be from 1 to {most}{which}.")
    return counts


def _checked(link: float) -> float:
    from pbkd.errors import ConfigError

    if not 0 < link < math.inf:
        raise ConfigError(f"--link is {link}, but must be bytes per second, above 0.")
    return link


def _schedulers(
    registry: Registry, settings: RunConfig, wanted: str | None
) -> dict[str, Callable[[], Scheduler]]:
    """Return how to make each registered scheduler; the chosen one has its options."""
    choices: dict[str, Any] = {name: {"name": name} for name in registry.strategies["scheduler"]}
    if wanted:
        registry.find("scheduler", wanted)
        choices[wanted] = settings.scheduler
    return {name: partial(registry.create, "scheduler", choice) for name, choice in choices.items()}


def _costs(
    file: Path | None,
    setting: str | None,
    settings: RunConfig,
    given: Sequence[str],
    registry: Registry,
) -> tuple[CostTable, Worker]:
    """Return costs from the file, or measured, and a worker like that on which they were."""
    from pbkd.config.load import read_overrides
    from pbkd.core.schedule import Worker
    from pbkd.errors import ConfigError
    from pbkd.planning.cost_files import read_costs

    if file is None:
        if setting is not None:
            raise ConfigError("--setting chooses a run of a file of costs: give --costs too.")
        return _measured(settings, registry)
    for key in read_overrides(given):
        if key != "scheduler":
            raise ConfigError(f"with --costs nothing is loaded, so leave '{key}' out.")
    return read_costs(file, setting), Worker(0)


def _measured(settings: RunConfig, registry: Registry) -> tuple[CostTable, Worker]:
    """Load teacher and data and measure; whichever scheduler was chosen has no part in that."""
    from pbkd.config.schema import RunConfig
    from pbkd.pipeline.plan import cost_table, plan_run

    planned_run = plan_run(replace(settings, scheduler=RunConfig().scheduler), registry)
    return cost_table(planned_run), planned_run.plan.workers[0]
