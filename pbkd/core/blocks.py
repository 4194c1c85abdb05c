"""Blocks of a teacher's chain, what it costs to train them, and the names of their candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["Block", "BlockCost", "candidate_name", "candidate_of", "sum_costs"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A segment of the chain that may get a replacement.

    Attributes:
        name: Name of the segment.
        position: Index of the segment in the chain, from 0.
        input_shape: Shape of one sample of its input, without the batch dimension.
        output_shape: Shape of one sample of its output, without the batch dimension.
    """

    name: str
    position: int
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class BlockCost:
    """The cost of one training step (one batch) of a block, on a worker with speed 1.

    Attributes:
        name: Name of the block.
        prefix_seconds: The teacher's forward pass through all segments before the block.
        teacher_seconds: The teacher's forward pass through the block.
        train_seconds: The replacement's forward pass, backward pass and update.
        input_bytes: Size of the block's input for one batch.
        parameter_bytes: Size of the gradients that replicas exchange (all-reduce) per step.
        exchanges: All-reduce operations per step.
        overhead_seconds: Part of the block's and the training's seconds that does not shrink with
            the batch.
        read_seconds: Reading of the block's input and output for one batch from a cache in memory.
        rows: Parts into which a batch can be split, so the most workers that can share it: its
            images, or 1 with a loss that needs whole batches; 0 if it is unknown.
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
    """Add up the costs of candidates that are trained together.

    Candidates of a block share the teacher's forward pass and the reading; their training adds up.

    Args:
        costs: Costs of candidates, each with the name of its block.

    Returns:
        One cost per block, in the order of `costs`.
    """
    totals: dict[str, BlockCost] = {}
    for cost in costs:
        total = totals.get(cost.name)
        totals[cost.name] = cost if total is None else _add_training(total, cost)
    return list(totals.values())


def _add_training(total: BlockCost, cost: BlockCost) -> BlockCost:
    return replace(
        total,
        train_seconds=total.train_seconds + cost.train_seconds,
        parameter_bytes=total.parameter_bytes + cost.parameter_bytes,
        exchanges=total.exchanges + cost.exchanges,
        overhead_seconds=total.overhead_seconds + cost.overhead_seconds,
    )


def candidate_name(block: str, index: int) -> str:
    """Return the name of a block's candidate: the block's own name for the first candidate.

    The index follows a dot, which no block's name contains, since torch does not allow dots in the
    names of modules.
    """
    return f"{block}.{index}" if index else block


def candidate_of(name: str) -> tuple[str, int]:
    """Return the block and the index of a candidate's name; the inverse of `candidate_name`."""
    block, _, index = name.partition(".")
    return block, int(index or 0)
