"""Workers that run at the same time: relay, replicas, cache; each against one worker alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed as dist
from pbkd_local import LocalLauncher
from pbkd_squared_error import RelativeSquaredError
from torch import Tensor, nn

from pbkd import Worker
from pbkd.config.load import load_config
from pbkd.core.events import BlockTrained, Event
from pbkd.execution.process_group import process_group
from pbkd.models.weights import read_weights, write_weights
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.exchange import Collectives, Exchange, open_exchange
from pbkd.training.link import RowRange, shared_rows, split_rows
from pbkd.training.replicas import ReplicaGroup
from tests.few_digits import few_digits

if TYPE_CHECKING:
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry

PHASES = ("teacher-fed", "student-fed")


def weights(result: RunResult, phase: str) -> dict[str, dict[str, Tensor]]:
    files = sorted((Path(result.folder) / phase).glob("*.safetensors"))
    return {file.stem: read_weights(file) for file in files}


@pytest.fixture(scope="module")
def alone(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run(load_config(overrides(tmp_path_factory.mktemp("alone"))), registry)


def overrides(out: Path) -> list[str]:
    return [
        *few_digits(out.parent, training=300), f"out={out}", "threads=1", "batch_size=63",
        "distill.epochs=2", "distill.student_fed_epochs=1", "finetune.epochs=0", "meters=[]",
    ]  # fmt: skip


def assert_same(first: RunResult, second: RunResult, tolerance: float = 0.0) -> None:
    for phase in PHASES:
        one, two = weights(first, phase), weights(second, phase)
        assert one.keys() == two.keys()
        assert len(one) >= 5
        for block, tensors in one.items():
            for name, tensor in tensors.items():
                torch.testing.assert_close(
                    tensor, two[block][name], rtol=tolerance, atol=tolerance, msg=f"{block} {name}"
                )


@pytest.mark.usefixtures("unshared")
def test_a_relay_trains_the_student_of_one_worker(
    registry: Registry, alone: RunResult, tmp_path: Path
) -> None:
    events: list[Event] = []
    settings = [*overrides(tmp_path), "workers=2", "scheduler=pipeline"]
    together = run(load_config(settings), registry, events.append)
    assert_same(alone, together)
    blocks = [event for event in events if isinstance(event, BlockTrained)]
    for phase in PHASES:
        assert {event.worker for event in blocks if event.phase == phase} == {0, 1}


@pytest.mark.usefixtures("unshared")
def test_a_cache_trains_the_student_of_one_worker(
    registry: Registry, alone: RunResult, tmp_path: Path
) -> None:
    settings = [*overrides(tmp_path), "workers=2", "scheduler=cached", "cache_gigabytes=1"]
    first = run(load_config(settings), registry)
    assert_same(alone, first)
    (cache,) = (tmp_path / "cache").glob("[!.]*")
    filled = (cache / "complete.json").stat().st_mtime_ns
    again = run(load_config([*settings, "workers=1"]), registry)
    assert_same(alone, again)
    assert (cache / "complete.json").stat().st_mtime_ns == filled


def test_replicas_train_the_student_of_one_worker(registry: Registry, tmp_path: Path) -> None:
    plugin = tmp_path / "sharers.py"
    plugin.write_text(
        "import pbkd\n"
        "class Sharers:\n"
        "    name = 'sharers'\n"
        "    def schedule(self, costs, workers):\n"
        "        names = tuple(cost.name for cost in costs)\n"
        "        first, second = pbkd.Job(names[:3]), pbkd.Job(names[3:])\n"
        "        return pbkd.Schedule(((first,), (second,), (second,)), feed='relay')\n"
        "@pbkd.hookimpl\n"
        "def register_schedulers():\n"
        "    return [Sharers]\n"
    )
    settings = [*overrides(tmp_path), "workers=3", "distill.student_fed_epochs=0"]
    settings += ["distill.epochs=1", "distill.lr=0.0001"]
    own = build_registry([str(plugin)])
    shared = run(load_config(settings, plugins=own.provided([str(plugin)])), own)
    single = run(load_config([*settings, "workers=1", "scheduler=greedy"]), registry)
    before, together = weights(single, "initial"), weights(shared, "teacher-fed")
    for name, tensors in weights(single, "teacher-fed").items():
        for key, tensor in tensors.items():
            if key == "0.1.bias":  # of the wide convolution
                continue  # BatchNorm takes it away again: its gradient is nothing but rounding
            moved = (tensor - before[name][key]).float().norm()
            # Sums over a batch are added in another order, and AdamW turns the rounding of a
            # gradient near zero into whole steps: single weights may differ, not all together.
            assert (tensor - together[name][key]).float().norm() <= 0.1 * moved, (name, key)


def test_rows_are_shared_evenly_and_all() -> None:
    assert split_rows([4, 7], 5) == [RowRange(4, 0, 2), RowRange(7, 2, 5)]
    assert [r.stop - r.start for r in split_rows(range(3), 64)] == [21, 21, 22]


def test_each_receiver_gets_its_rows_from_whoever_has_them() -> None:
    two, three = split_rows([0, 1], 6), split_rows([2, 3, 4], 6)
    assert shared_rows(two[0], three) == [RowRange(2, 0, 2), RowRange(3, 2, 3)]
    assert shared_rows(three[1], two) == [RowRange(0, 0, 1), RowRange(1, 1, 2)]


NMSE = AppliedLoss(RelativeSquaredError())


def _network() -> nn.Module:
    torch.manual_seed(0)
    plain_norm = nn.BatchNorm2d(2, affine=False, track_running_stats=False)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), plain_norm
    )


def _train_once(folder: Path, rank: int) -> None:
    """Take one gradient of a team of two, by each kind of exchange."""
    with process_group(torch.device("cpu"), rank, 2, "test"):
        group = dist.group.WORLD
        assert group is not None
        for name, exchange in (
            ("board", open_exchange(group, torch.device("cpu"))),
            ("torch", Collectives(group)),
        ):
            found = _gradient(folder, rank, exchange)
            write_weights(folder / f"{name}{rank}.safetensors", found)


def _gradient(folder: Path, rank: int, exchange: Exchange) -> dict[str, Tensor]:
    """Return gradients, statistics and loss; the two have parts of unequal size."""
    data = read_weights(folder / "data.safetensors")
    part = (slice(0, 3), slice(3, 8))[rank]
    network = _network()
    replicas = ReplicaGroup(exchange, RowRange(rank, part.start, part.stop), 8)
    replicas.share_norms(network)
    output = network(data["x"][part])
    loss = replicas.loss(NMSE, output, data["target"][part], None)
    loss.backward()  # type: ignore[no-untyped-call]
    replicas.add_gradients(network)
    result = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    buffers = {name: b.float() for name, b in network.named_buffers()}
    return {**result, **buffers, "loss": replicas.sum(loss)}


def test_a_team_has_the_gradients_and_statistics_of_the_whole_batch(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(8, 3, 6, 6, generator=generator)
    target = torch.randn(8, 2, 2, 2, generator=generator)
    write_weights(tmp_path / "data.safetensors", {"x": x, "target": target})
    LocalLauncher().launch(_train_once, tmp_path, [Worker(0), Worker(1)])
    network = _network()
    loss = NMSE(network(x), target)
    loss.backward()  # type: ignore[no-untyped-call]
    for file in ("board0", "board1", "torch0", "torch1"):
        found = read_weights(tmp_path / f"{file}.safetensors")
        torch.testing.assert_close(found["loss"], loss.detach())
        for name, parameter in network.named_parameters():
            # float32 sums in another order
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-6)
        for name, buffer in islice(network.named_buffers(), 2):
            torch.testing.assert_close(found[name], buffer, rtol=1e-5, atol=1e-6)
