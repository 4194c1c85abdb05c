"""Partitioners: a chain that is the teacher, from its own modules, and the teacher as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.models.chain import check_chain, freeze

if TYPE_CHECKING:
    from pbkd.protocols import Partitioner

__all__ = ["check_partitioner"]


def check_partitioner(partitioner: Partitioner, teacher: nn.Module, images: Tensor) -> None:
    """The chain computes the teacher's function from the teacher's own modules, the same twice.

    `images`, (N, C, H, W), are what the teacher takes. The teacher stays as it is, and any other
    network can be asked about.
    """
    assert partitioner.accepts(teacher) is True, f"{partitioner.name} does not accept this teacher"
    _check_answers(partitioner)
    freeze(teacher)
    own = {id(tensor) for tensor in (*teacher.parameters(), *teacher.buffers())}
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    chain = partitioner.partition(teacher)
    assert not any(module.training for module in teacher.modules()), (
        "partition puts the teacher into training mode"
    )
    check_chain(teacher, chain, images)
    foreign = [
        name
        for name, tensor in (*chain.named_parameters(), *chain.named_buffers())
        if id(tensor) not in own
    ]
    assert not foreign, f"the chain holds tensors that are not the teacher's: {foreign}"
    after = teacher.state_dict()
    assert after.keys() == before.keys(), "partition changes the teacher's modules"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()), (
        "partition changes the teacher's weights"
    )
    names = [name for name, _ in chain.named_children()]
    again = [name for name, _ in partitioner.partition(teacher).named_children()]
    assert again == names, f"partition cuts the same teacher into {names}, then into {again}"


def _check_answers(partitioner: Partitioner) -> None:
    """`partitioner=auto` asks about any network, so that one who raises stops everybody's runs."""
    for network in (nn.Identity(), nn.Linear(2, 2), nn.Sequential(nn.Conv1d(1, 1, 1))):
        answer = partitioner.accepts(network)
        assert isinstance(answer, bool), (
            f"accepts says {answer!r} of a {type(network).__name__}, not True or False"
        )
