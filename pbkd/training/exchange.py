"""Exchange of values between the workers that share every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
import torch.distributed as dist

from pbkd.training.board_setup import open_board

if TYPE_CHECKING:
    from torch import Tensor


__all__ = ["Collectives", "Exchange", "HostExchange", "exchange_device", "open_exchange"]


class Exchange(Protocol):
    """How the workers of a group exchange values; all of them make the same calls in turn."""

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        """Return the values of every worker.

        Args:
            values: This worker's values, (n,) in all, of the same number and type in all workers.
            count: A number of this worker, such as how many rows these are from.

        Returns:
            The values in the order of ranks, (workers, n), valid until the next call; and the
            numbers.
        """
        ...

    def add(self, values: Tensor) -> None:
        """Add up the values of all workers in place, to the same bits in each of them.

        Args:
            values: This worker's values, (n,).
        """
        ...


@dataclass(frozen=True)
class Collectives:
    """Exchange by torch's collective operations, between any machines."""

    group: dist.ProcessGroup

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        """Return the values and numbers of every worker, see `Exchange.gather`."""
        whole = torch.cat([*values, values[0].new_tensor([count])])
        parts = [torch.empty_like(whole) for _ in range(dist.get_world_size(self.group))]
        dist.all_gather(parts, whole, group=self.group)
        rows = torch.stack(parts)
        return rows[:, :-1], tuple(map(int, rows[:, -1].tolist()))

    def add(self, values: Tensor) -> None:
        """Add up the values of all workers in place, see `Exchange.add`."""
        dist.all_reduce(values, group=self.group)


@dataclass(frozen=True)
class HostExchange:
    """Exchanges values on an accelerator by way of the CPU.

    Attributes:
        inner: Exchanges values on the CPU.
    """

    inner: Exchange

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        """Return the values and numbers of every worker, see `Exchange.gather`."""
        rows, counts = self.inner.gather(*(part.cpu() for part in values), count=count)
        return rows.to(values[0].device), counts

    def add(self, values: Tensor) -> None:
        """Add up the values of all workers in place, see `Exchange.add`."""
        here = values.cpu()
        self.inner.add(here)
        values.copy_(here)


def exchange_device(device: torch.device) -> torch.device:
    """Return where the process group's tensors must be: NCCL takes the device's, gloo the CPU's.

    Args:
        device: This worker's device.
    """
    return device if dist.get_backend() == "nccl" else torch.device("cpu")


def open_exchange(group: dist.ProcessGroup | None, device: torch.device) -> Exchange:
    """Let the workers of a group exchange values: in shared memory if all are on this machine.

    Args:
        group: The process group; all of its workers must call this.
        device: Where this worker's values are.
    """
    assert group is not None, "the process group is initialised"
    exchange = open_board(group) or Collectives(group)
    return exchange if exchange_device(device) == device else HostExchange(exchange)
