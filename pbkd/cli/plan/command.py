"""The command `pbkd plan`, which predicts, simulates or compares."""

from __future__ import annotations

from pbkd.cli.arguments import ConfigFile, Overrides, Plugins, Trust
from pbkd.cli.plan.options import (
    Against,
    ClusterFile,
    CostFile,
    JsonFile,
    Link,
    SaveCosts,
    Schedulers,
    Setting,
    SvgFile,
    WorkerCounts,
)


def plan(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
    workers: WorkerCounts = None,
    cluster: ClusterFile = None,
    against: Against = None,
    schedulers: Schedulers = None,
    costs: CostFile = None,
    save_costs: SaveCosts = None,
    setting: Setting = None,
    link: Link = None,
    svg: SvgFile = None,
    json: JsonFile = None,
    trust: Trust = None,
) -> None:
    """Predict time, speed-up, idle share and bytes moved for every scheduler, without training.

    Costs are measured on this machine or read from a file. Every worker is assumed to be like this
    machine, or like the devices of the cluster file, on which every step is then simulated.
    """
    from pbkd.cli.plan.compare import compare
    from pbkd.cli.plan.inputs import check_link, read_inputs, worker_counts
    from pbkd.cli.plan.predict import predict
    from pbkd.cli.plan.schedulers import compare as compare_schedulers
    from pbkd.cli.plan.simulate import simulate
    from pbkd.errors import ConfigError
    from pbkd.planning.cluster import read_cluster
    from pbkd.planning.cost_files import write_costs

    nodes = read_cluster(cluster) if cluster else None
    if against:
        if schedulers is not None:
            raise ConfigError("--against compares runs, not schedulers: omit --schedulers.")
        compare(against, nodes, setting)
        return
    check_link(link, nodes)
    counts = worker_counts(workers, nodes)
    inputs = read_inputs(
        overrides or [], config, plugin or [], costs, setting, trust or (), schedulers
    )
    if save_costs:
        write_costs(save_costs, inputs.table)
    if schedulers is not None:
        compare_schedulers(inputs, nodes, link, counts, svg=svg, json=json)
    elif nodes:
        simulate(inputs, nodes, counts, svg=svg, json=json)
    else:
        predict(inputs, link, counts, svg=svg, json=json)
