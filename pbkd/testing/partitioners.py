"""Conformance tests of partitioners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pbkd.models.chain import check_chain, freeze

if TYPE_CHECKING:
    from pbkd.protocols import Partitioner

__all__ = ["check_partitioner"]


def check_partitioner(partitioner: Partitioner, teacher: nn.Module, images: Tensor) -> None:
    """Check that a partitioner's chain computes the teacher's function.

    The chain must consist of the teacher's own tensors and be the same in two calls, the teacher
    must stay unchanged, and `accepts` must return a bool for any network.

    Args:
        partitioner: The partitioner, which must accept the teacher.
        teacher: A network.
        images: Normalised images for it, (N, C, H, W).

    Raises:
        AssertionError: If the partitioner breaks the contract.
        ChainError: If the chain does not compute the teacher's function.
    """
    assert partitioner.accepts(teacher) is True, f"{partitioner.name} does not accept this teacher"
    _check_answers(partitioner)
    freeze(teacher)
    tensors = {id(tensor) for tensor in (*teacher.parameters(), *teacher.buffers())}
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    chain = partitioner.partition(teacher)
    assert not any(module.training for module in teacher.modules()), (
        "partition puts the teacher into training mode"
    )
    check_chain(teacher, chain, images)
    foreign = [
        name
        for name, tensor in (*chain.named_parameters(), *chain.named_buffers())
        if id(tensor) not in tensors
    ]
    assert not foreign, f"the chain has tensors that are not the teacher's: {foreign}"
    after = teacher.state_dict()
    assert after.keys() == before.keys(), "partition changes the teacher's modules"
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()), (
        "partition changes the teacher's weights"
    )
    names = [name for name, _ in chain.named_children()]
    again = [name for name, _ in partitioner.partition(teacher).named_children()]
    assert again == names, f"partition returns the segments {names}, and {again} in a second call"


def _check_answers(partitioner: Partitioner) -> None:
    """Check `accepts` on unrelated networks: `partitioner=auto` asks every partitioner."""
    for network in (nn.Identity(), nn.Linear(2, 2), nn.Sequential(nn.Conv1d(1, 1, 1))):
        answer = partitioner.accepts(network)
        assert isinstance(answer, bool), (
            f"accepts returns {answer!r} for a {type(network).__name__}, not True or False"
        )
