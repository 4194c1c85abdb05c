"""Damage files and options at random: `python -m tests.soak.fuzz --inputs N`.

Each input must be taken, or refused with a `PbkdError`; nothing else may be raised, and nothing be
written outside the given folder. `tests/integration/test_fuzz.py` runs the first few thousand.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from pbkd.config.load import load_config, to_yaml
from pbkd.config.options import typed_options
from pbkd.core.blocks import Block, BlockCost
from pbkd.core.files import write_json
from pbkd.data.sources import SOURCES
from pbkd.errors import PbkdError
from pbkd.models.student_files import read_recipe
from pbkd.models.teacher import find_model
from pbkd.models.weights import fit_weights, read_weights, write_weights
from pbkd.pipeline.load import load
from pbkd.planning.cost_files import CostTable, read_costs, write_costs
from pbkd.planning.plan import Workload
from pbkd.planning.prediction import predict_schedulers
from pbkd.plugin.registry import build_registry
from pbkd.training.activation_cache import ActivationCache, CacheSpec
from pbkd.training.cache_filling import fill_cache
from pbkd.training.checkpoint import CheckpointStore
from pbkd.zoo.card import read_card
from pbkd.zoo.recipes import card_text
from pbkd.zoo.train import training_recipe
from tests.soak.damage import WORDS, Outside, mutated

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Scheduler

__all__ = ["ROUNDS", "attempt", "corpus", "original"]

SLOWEST = 5.0
_BLOCKS = [Block("one", 0, (2, 3, 3), (3, 2, 2)), Block("two", 1, (3, 2, 2), (2, 1, 1))]
_ROWS = 3
_EPOCH = 2


@functools.lru_cache(maxsize=1)
def _registry() -> Registry:
    return build_registry()


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv2d(3, 2, 2)).requires_grad_(False)


def _try_config(path: Path) -> None:
    config = load_config(file=path)
    assert to_yaml(config)
    for slot in ("partitioner", "builder", "scheduler", "launcher"):
        choice = getattr(config, slot)
        if choice["name"] != "auto":
            _registry().create(slot, choice)
    source = SOURCES.get(config.data["name"])
    if source is not None:
        given = {key: value for key, value in config.data.items() if key != "name"}
        source(**typed_options(source, given, where="data"))


def _try_overrides(path: Path) -> None:
    load_config(path.read_bytes().decode("utf-8", "replace").split(" "))


def _try_recipe(path: Path) -> None:
    home = path.parent / "student"
    home.mkdir(exist_ok=True)
    (home / "config.json").write_bytes(path.read_bytes())
    read_recipe(home / "config.json")
    load(path.parent)


def _try_costs(path: Path) -> None:
    from pbkd.core.schedule import Worker

    table = read_costs(path)
    schedulers = {name: _maker(name) for name in ("greedy", "pipeline")}
    assert predict_schedulers(table.costs, [Worker(0), Worker(1)], table.workload, schedulers)


def _maker(name: str) -> Callable[[], Scheduler]:
    return lambda: _registry().create("scheduler", {"name": name})


def _try_weights(path: Path) -> None:
    weights = path.rename(path.with_suffix(".safetensors"))
    network = _network()
    fit_weights(network, read_weights(weights), weights)
    wanted = _network().state_dict()
    found = network.state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted), "silently other weights"


def _try_cache(path: Path) -> None:
    folder = path.parent / "cache"
    mark, *arrays = _cache_files(folder)
    content = path.read_bytes()
    size = len(mark.read_bytes())
    whole = [file.read_bytes() for file in (mark, *arrays)]
    mark.write_bytes(content[:size])
    arrays[0].write_bytes(content[size:])
    try:
        cache = ActivationCache.load(CacheSpec(folder, _BLOCKS, _ROWS))
        assert all(
            bytes(a.data) == w for a, w in zip(cache.arrays.values(), whole[1:], strict=True)
        )
    finally:
        for file, before in zip((mark, *arrays), whole, strict=True):
            file.write_bytes(before)


def _try_checkpoint(path: Path) -> None:
    kept = CheckpointStore(path.parent, "block")
    path.rename(kept.path(_EPOCH))
    try:
        tensors, facts = kept.read(_EPOCH)
    finally:
        assert kept.readable() in ([], [_EPOCH])
    wanted = _network().state_dict()
    assert all(torch.equal(tensors[key], wanted[key]) for key in wanted), "silently other weights"
    assert facts["losses"] == [0.5]


def _try_card(path: Path) -> None:
    model = replace(find_model(_registry(), "digits-vgg")[0], card=path)
    assert card_text(path).encode() == path.read_bytes()  # an empty one is told of below
    assert read_card(path)
    assert training_recipe(model, "digits-vgg", [])


ROUNDS: dict[str, Callable[[Path], None]] = {
    "config": _try_config,
    "overrides": _try_overrides,
    "recipe": _try_recipe,
    "costs": _try_costs,
    "weights": _try_weights,
    "cache": _try_cache,
    "checkpoint": _try_checkpoint,
    "card": _try_card,
}


def _cache_files(folder: Path) -> list[Path]:
    if not folder.exists():
        cache = ActivationCache.create(CacheSpec(folder, _BLOCKS, _ROWS))
        images = torch.arange(_ROWS * 18, dtype=torch.float32).view(_ROWS, 2, 3, 3)
        fill_cache(cache, _network(), [(slice(0, _ROWS), images)])
        cache.finish()
    return [folder / "complete.json", *sorted(folder.glob("boundary-*.bin"))]


@functools.cache
def original(kind: str) -> bytes:
    """Return a file of a kind that is as it should be."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "whole.safetensors"
        if kind == "config":
            return to_yaml(load_config(["data.crop=0", "builder.share=0.5"])).encode()
        if kind == "overrides":
            return b"workers=2 scheduler=greedy distill.lr=0.01 keep=[stem*,head*] teacher=vgg16"
        if kind == "recipe":
            return json.dumps(_RECIPE).encode()
        if kind == "costs":
            costs = tuple(BlockCost(f"b{i}", i * 0.1, 0.1, 0.2, 8, 4, 2) for i in range(3))
            write_costs(path, CostTable("made up", costs, Workload(30, 10)))
        elif kind == "weights":
            write_weights(path, _network().state_dict())
        elif kind == "checkpoint":
            kept = CheckpointStore(Path(name), "block")
            kept.write(_EPOCH, _network().state_dict(), {"losses": [0.5]})
            path = kept.path(_EPOCH)
        elif kind == "card":
            card = find_model(_registry(), "digits-vgg")[0].card
            assert card
            path = card
        else:
            mark, first, *_ = _cache_files(Path(name) / "cache")
            return mark.read_bytes() + first.read_bytes()
        return path.read_bytes()


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


def corpus(kind: str) -> list[bytes]:
    """Return pieces that are put into a file of a kind."""
    return [*WORDS.split(b" "), *original(kind).split()[:40]]


def attempt(kind: str, content: bytes, folder: Path) -> str | None:
    """Give `content` to what reads files of a kind; return the mistake that it tells of, if any."""
    home = folder / kind
    home.mkdir(exist_ok=True)
    if kind == "cache":
        _cache_files(home / "cache")
    if kind == "recipe" and not (home / "student" / "model.safetensors").exists():
        _store_student(home)
    path = home / "input.yaml"
    path.write_bytes(content)
    start = time.monotonic()
    try:
        ROUNDS[kind](path)
    except PbkdError as error:
        assert str(error)
        return str(error)
    finally:
        assert time.monotonic() - start < SLOWEST, content
    return None


def _store_student(home: Path) -> None:
    from pbkd.models.student import architecture

    path = home / "student" / "config.json"
    write_json(path, _RECIPE)
    weights = architecture(read_recipe(path), ()).state_dict()
    write_weights(home / "student" / "model.safetensors", weights)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    told = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inside"
        folder.mkdir()
        os.chdir(name)  # whatever else is new where this was started is no fault
        for number in range(arguments.inputs):
            kind = sorted(ROUNDS)[number % len(ROUNDS)]
            content = mutated(original(kind), corpus(kind), chance)
            with Outside(folder) as outside:
                told += attempt(kind, content, folder) is not None
            assert outside.unchanged(), content
    print(f"{arguments.inputs} inputs: {told} refused, {arguments.inputs - told} taken")


if __name__ == "__main__":
    _main()
