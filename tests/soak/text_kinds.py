"""Files of text that may be hostile: YAML, JSON, overrides."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from pbkd.config.load import load_config, to_yaml
from pbkd.core.blocks import BlockCost
from pbkd.core.files import write_json
from pbkd.core.schedule import Worker
from pbkd.core.workload import Workload
from pbkd.models.plain.network_file import read_network, write_network
from pbkd.models.plain.tracing import trace_segments
from pbkd.models.student import architecture
from pbkd.models.student_files import read_recipe
from pbkd.models.student_loading import load_student
from pbkd.models.teacher import find_model
from pbkd.models.weights import write_weights
from pbkd.planning.cluster import read_cluster
from pbkd.planning.cost_files import CostTable, read_costs, write_costs
from pbkd.planning.prediction import predict_schedulers
from pbkd.planning.simulation.scaling import simulate_schedulers
from pbkd.plugin.registry import build_registry
from pbkd.zoo.card import read_card
from pbkd.zoo.recipes import card_text
from pbkd.zoo.training_recipe import training_recipe
from tests.soak.kind import Kind, two_layers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler

__all__ = ["TEXT_KINDS"]

_RECIPE = {
    "format": 3,
    "teacher": {"name": "digits-vgg"},
    "partitioner": {"name": "vgg"},
    "plugins": [],
    "preparation": {
        "channels": 1,
        "resize": {"height": 8, "width": 8},
        "interpolation": "bilinear",
        "crop": {"height": 8, "width": 8},
        "mean": [0.5],
        "std": [0.5],
    },
    "class_names": ["no", "yes"],
    "replaced": {"conv2_1": {"name": "separable"}},
}
_CLUSTER = {
    "nodes": [
        {"name": "a", "count": 2, "devices": 2, "contention": 0.1, "busy_watts": 9, "price": 1},
        {"name": "b", "speed": 2.0, "bandwidth": 1e9, "latency": 1e-4, "overlap": True},
    ],
    "failures": {"per_device_hour": 0.01, "restart_seconds": 9, "seed": 1},
}


@functools.lru_cache(maxsize=1)
def _registry() -> Registry:
    return build_registry()


def _schedulers() -> dict[str, Callable[[], Scheduler]]:
    def maker(name: str) -> Callable[[], Scheduler]:
        return lambda: _registry().create("scheduler", {"name": name})

    return {name: maker(name) for name in ("greedy", "lpt-scheduler", "pipeline")}


def _table() -> CostTable:
    costs = tuple(BlockCost(f"b{i}", i * 0.1, 0.1, 0.2, 8, 4, 2) for i in range(3))
    return CostTable("made up", costs, Workload(30, 10))


def _make_config(path: Path) -> None:
    path.write_text(to_yaml(load_config(["data.crop=0", "builder.share=0.5"])))


def _read_config(path: Path) -> None:
    config = load_config(file=path)
    assert to_yaml(config)
    for slot in ("data", "partitioner", "builder", "scheduler", "launcher"):
        choice = getattr(config, slot)
        if choice["name"] != "auto":
            _registry().create(slot, choice)


def _make_overrides(path: Path) -> None:
    path.write_text("workers=2 scheduler=greedy distill.lr=0.01 keep=[stem*,head*] teacher=vgg16")


def _read_overrides(path: Path) -> None:
    load_config(path.read_bytes().decode("utf-8", "surrogateescape").split(" "))


def _make_recipe(path: Path) -> None:
    write_json(path, _RECIPE)
    weights = architecture(read_recipe(path), ()).state_dict()
    write_weights(path.with_name("model.safetensors"), weights)


def _read_recipe(path: Path) -> None:
    read_recipe(path)
    load_student(path.parent)


def _make_network(path: Path) -> None:
    network = two_layers().eval()
    write_network(path, trace_segments(network, (2, 5, 5)), network.state_dict())


def _read_network(path: Path) -> None:
    network = read_network(path, two_layers().state_dict())
    assert sum(parameter.numel() for parameter in network.parameters()) < 2**20


def _make_costs(path: Path) -> None:
    write_costs(path, _table())


def _read_costs(path: Path) -> None:
    table = read_costs(path)
    predict_schedulers(table.costs, [Worker(0), Worker(1)], table.workload, _schedulers())


def _make_cluster(path: Path) -> None:
    path.write_text(yaml.safe_dump(_CLUSTER))


def _read_cluster(path: Path) -> None:
    cluster = read_cluster(path)
    simulate_schedulers(_table(), cluster, [1, min(cluster.size, 8)], _schedulers())


def _make_card(path: Path) -> None:
    card = find_model(_registry(), "digits-vgg")[0].card
    assert card
    shutil.copyfile(card, path)


def _read_card(path: Path) -> None:
    model = replace(find_model(_registry(), "digits-vgg")[0], card=path)
    assert card_text(path).encode() == path.read_bytes()  # an empty one is told of below
    assert read_card(path)
    assert training_recipe(model, "digits-vgg", [])


TEXT_KINDS = {
    "card": Kind("card.yaml", _make_card, _read_card, "yaml"),
    "cluster": Kind("cluster.yaml", _make_cluster, _read_cluster, "yaml"),
    "config": Kind("config.yaml", _make_config, _read_config, "yaml"),
    "costs": Kind("costs.json", _make_costs, _read_costs, "json"),
    "network": Kind("network.json", _make_network, _read_network, "json"),
    "overrides": Kind("overrides", _make_overrides, _read_overrides),
    "recipe": Kind("config.json", _make_recipe, _read_recipe, "json"),
}
