"""Who trains what, and how long it should take: blocks, costs, jobs, schedules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Block", "BlockCost", "candidate_name", "candidate_of", "sum_costs"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A segment of the chain that may get a replacement; shapes are of one sample."""

    name: str
    position: int
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class BlockCost:
    """What one training step (one batch) of a block costs on the device of a worker at speed 1.

    `prefix_seconds` is the teacher's forward pass through every segment before the block,
    `teacher_seconds` through the block itself, `train_seconds` the replacement's forward pass,
    backward pass and update. `input_bytes` is the block's input of one batch. Workers that share
    batches also add up `parameter_bytes` of gradients, and wait for each other `exchanges` times;
    of the block's and its training's seconds `overhead_seconds` do not shrink with the batch.
    `read_seconds` is what a batch of its input and output takes to be read from a cache in memory.
    A batch has so many `rows`, 0 where that is not known; no more workers can share it.
    """

    name: str
    prefix_seconds: float
    teacher_seconds: float
    train_seconds: float
    input_bytes: int = 0
    parameter_bytes: int = 0
    exchanges: int = 0
    overhead_seconds: float = 0.0
    read_seconds: float = 0.0
    rows: int = 0


def sum_costs(costs: Sequence[BlockCost]) -> list[BlockCost]:
    """Return the costs of blocks whose candidates are trained together, in the order given.

    The teacher's pass and the reading serve all candidates of a block; their training adds up.
    """
    together: dict[str, BlockCost] = {}
    for cost in costs:
        before = together.get(cost.name)
        together[cost.name] = cost if before is None else _with_training_of(before, cost)
    return list(together.values())


def _with_training_of(cost: BlockCost, other: BlockCost) -> BlockCost:
    return replace(
        cost,
        train_seconds=cost.train_seconds + other.train_seconds,
        parameter_bytes=cost.parameter_bytes + other.parameter_bytes,
        exchanges=cost.exchanges + other.exchanges,
        overhead_seconds=cost.overhead_seconds + other.overhead_seconds,
    )


def candidate_name(block: str, index: int) -> str:
    """Return the name of a block's candidate; the first has the block's own.

    A segment's name holds no dot, since torch refuses one in the name of a module.
    """
    return f"{block}.{index}" if index else block


def candidate_of(name: str) -> tuple[str, int]:
    """Return the block of a candidate and the candidate's index."""
    block, _, index = name.partition(".")
    return block, int(index or 0)
