"""One rank: claims jobs, feeds them from the teacher, trains them, writes what they learnt."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.distributed import is_torchelastic_launched
from torch.distributed.rendezvous import rendezvous

from pbkd.assignment import read_assignment
from pbkd.config import load_config
from pbkd.data import batches, steps_per_epoch
from pbkd.distill import Trainee, train_job, trainee
from pbkd.errors import PluginError
from pbkd.journal import record
from pbkd.loss import LOSSES
from pbkd.options import chosen
from pbkd.prepare import prepare
from pbkd.registry import build_registry
from pbkd.replacement import build_replacement
from pbkd.weights import fit_weights, read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.config import RunConfig
    from pbkd.plan import Block, Job, Schedule
    from pbkd.prepare import Prepared
    from pbkd.protocols import BlockBuilder

__all__ = ["epoch_batches", "read_replacement", "thread_count", "work"]


def work(folder: Path, rank: int) -> None:
    """Do one worker's part of a run's teacher-fed phase; everything it needs is in `folder`.

    Each trained replacement is written to `folder/blocks/NAME.safetensors`, and told of as an
    event `block`.
    """
    config = load_config(file=folder / "config.yaml")
    assignment = read_assignment(folder)
    worker = assignment.workers[rank]
    registry = build_registry(config.plugins)
    builder = chosen(registry, "builder", config.builder)
    with thread_count(worker.threads):
        prepared = prepare(config, registry, worker.device)
        for job in _claimed(assignment.schedule, rank):
            start = time.perf_counter()
            replacements = {
                name: _initial(folder, prepared, builder, assignment.blocks[name], config.seed)
                for name in job.blocks
            }
            trained = _train(folder, rank, config, prepared, replacements)
            _deliver(folder, rank, trained, time.perf_counter() - start)


def read_replacement(folder: Path, replacement: nn.Module, name: str) -> nn.Module:
    """Fill a replacement with the weights that `folder` holds for its block."""
    path = folder / f"{name}.safetensors"
    fit_weights(replacement, read_weights(path), path)
    return replacement


def _initial(
    folder: Path, prepared: Prepared, builder: BlockBuilder, block: Block, seed: int
) -> nn.Module:
    """Build a block's replacement with the initial weights that the host wrote."""
    replacement = build_replacement(builder, prepared.chain[block.position], block, seed)
    if replacement is None:
        raise PluginError(f"the builder '{builder.name}' no longer replaces '{block.name}'.")
    return read_replacement(folder / "initial", replacement, block.name).to(prepared.device)


def _deliver(folder: Path, rank: int, trained: Mapping[str, Trainee], seconds: float) -> None:
    for name, block in trained.items():
        write_weights(folder / "blocks" / f"{name}.safetensors", block.replacement.state_dict())
        facts = {"block": name, "worker": rank, "job_seconds": seconds, "losses": block.losses}
        record(folder, f"rank{rank}", "block", **facts)


def epoch_batches(
    config: RunConfig, prepared: Prepared, epochs: int, phase: str
) -> Iterator[Iterator[Tensor]]:
    """Yield, for each epoch of a phase, its normalised image batches.

    They depend on nothing but (seed, phase, epoch, step): every job of every worker sees the same.
    """
    for epoch in range(epochs):
        yield (
            prepared.normalised(images)
            for images, _ in batches(
                prepared.data.train,
                config.batch_size,
                seed=config.seed,
                epoch=epoch,
                augmentation=prepared.data.augment,
                phase=phase,
            )
        )


def _train(
    folder: Path,
    rank: int,
    config: RunConfig,
    prepared: Prepared,
    replacements: dict[str, nn.Module],
) -> dict[str, Trainee]:
    epochs = config.distill.epochs or 0
    steps = epochs * steps_per_epoch(prepared.data.train, config.batch_size)
    trainees = {
        name: trainee(
            replacement,
            lr=config.distill.lr,
            weight_decay=config.distill.weight_decay,
            steps=steps,
        )
        for name, replacement in replacements.items()
    }
    train_job(
        prepared.folded,
        trainees,
        epoch_batches(config, prepared, epochs, "teacher-fed"),
        LOSSES[config.distill.loss],
        epoch_finished=lambda name, loss: record(
            folder, f"rank{rank}", "epoch", block=name, worker=rank, loss=loss
        ),
    )
    return trainees


def _claimed(schedule: Schedule, rank: int) -> Iterator[Job]:
    """Yield the worker's own jobs, then shared ones, each claimed by one worker only."""
    yield from schedule.assigned[rank]
    if schedule.shared:
        ticket = _shared_counter()
        while (index := ticket()) < len(schedule.shared):
            yield schedule.shared[index]


def _shared_counter() -> Callable[[], int]:
    """Count 0, 1, 2 … over all workers of the run: in their TCPStore, or alone in one process."""
    if not is_torchelastic_launched():
        return itertools.count().__next__
    store, _, _ = next(iter(rendezvous("env://")))
    return lambda: store.add("pbkd/jobs", 1) - 1


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Give torch this many CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
