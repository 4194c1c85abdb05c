"""The kit for plugin authors' tests: one check for each kind of plugin.

Each raises `AssertionError`, or the error that a run would raise, where the plugin breaks its
contract.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.chain import blocks_of, check_chain, freeze
from pbkd.errors import MeterUnavailableError
from pbkd.makespan import makespan
from pbkd.plan import BlockCost, Worker, check_schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.protocols import BlockBuilder, EnergyMeter, Partitioner, Scheduler

__all__ = [
    "check_builder",
    "check_meter",
    "check_partitioner",
    "check_scheduler",
    "tiny_costs",
    "tiny_segment",
]


def tiny_costs(blocks: int = 5) -> list[BlockCost]:
    """Return the costs of a chain of `blocks` blocks whose seconds all differ."""
    costs, prefix = [], 0.5
    for index in range(blocks):
        teacher = 1.0 + (index * 7 % 5) / 4
        costs.append(BlockCost(f"block{index}", prefix, teacher, 2 * teacher + index / 8))
        prefix += teacher
    return costs


def tiny_segment() -> nn.Sequential:
    """Return a segment of two 3x3 convolutions, each with BatchNorm and ReLU; 8 channels in."""
    generator = torch.Generator().manual_seed(0)
    segment = nn.Sequential(
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )
    for tensor in segment.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return segment


def check_scheduler(
    scheduler: Scheduler, costs: Sequence[BlockCost] | None = None, workers: int = 2
) -> None:
    """Every block in exactly one job, the same answer twice, and a makespan that is possible."""
    costs = tiny_costs() if costs is None else costs
    crew = [Worker(rank) for rank in range(workers)]
    schedule = scheduler.schedule(costs, crew)
    check_schedule(schedule, costs, workers)
    assert scheduler.schedule(costs, crew) == schedule, "the same costs give another schedule"
    seconds = makespan(schedule, costs, crew)
    shared = schedule.feed == "relay"  # a relay's workers may share a block
    largest = max(cost.train_seconds for cost in costs) / (workers if shared else 1)
    mean = sum(cost.train_seconds for cost in costs) / workers
    # Sums of the same numbers in another order differ in their last bits.
    assert seconds >= max(largest, mean) * (1 - 1e-9), "the makespan is impossibly short"


def check_partitioner(partitioner: Partitioner, teacher: nn.Module, images: Tensor) -> None:
    """The chain computes the teacher's function from the teacher's own modules."""
    assert partitioner.accepts(teacher), f"{partitioner.name} does not accept this teacher"
    freeze(teacher)
    own = {id(tensor) for tensor in (*teacher.parameters(), *teacher.buffers())}
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    chain = partitioner.partition(teacher)
    check_chain(teacher, chain, images)
    foreign = [
        name
        for name, tensor in (*chain.named_parameters(), *chain.named_buffers())
        if id(tensor) not in own
    ]
    assert not foreign, f"the chain holds tensors that are not the teacher's: {foreign}"
    after = teacher.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()), (
        "partitioning changed the teacher"
    )


def check_builder(builder: BlockBuilder, segment: nn.Module | None = None) -> None:
    """The replacement fits, trains, shares nothing, and is the same for the same seed."""
    segment = freeze(tiny_segment() if segment is None else segment)
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    image = torch.rand(2, 8, 6, 6, generator=torch.Generator().manual_seed(1))
    (block,) = blocks_of(chain, image[:1], ["block0"])
    torch.manual_seed(0)
    replacement = builder.build(segment, block)
    torch.manual_seed(0)
    again = builder.build(segment, block)
    assert replacement is not None, "the builder keeps a block of two dense 3x3 convolutions"
    assert again is not None
    theirs = {tensor.data_ptr() for tensor in (*segment.parameters(), *segment.buffers())}
    mine = {tensor.data_ptr() for tensor in (*replacement.parameters(), *replacement.buffers())}
    assert not theirs & mine, "the replacement shares a tensor with the teacher"
    pairs = zip(replacement.state_dict().items(), again.state_dict().items(), strict=True)
    assert all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs), "the seed does not hold"
    output = replacement.train()(image)
    assert output.shape[1:] == block.output_shape, f"the replacement gives {output.shape[1:]}"
    output.square().mean().backward()
    trained = [p for p in replacement.parameters() if p.requires_grad and p.grad is not None]
    assert trained, "no parameter of the replacement gets a gradient"


def check_meter(meter: EnergyMeter) -> None:
    """The meter never runs backwards, or says plainly why it cannot measure here."""
    try:
        with meter.open() as read:
            first = read()
            time.sleep(0.01)
            second = read()
    except MeterUnavailableError as error:
        assert str(error), "an unavailable meter must give its reason"
        return
    assert first.joules or first.lost, "an open meter has at least one domain"
    for domain, joules in second.joules.items():
        assert joules >= first.joules.get(domain, 0.0) >= 0.0, f"{domain} runs backwards"
