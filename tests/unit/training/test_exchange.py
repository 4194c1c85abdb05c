from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pbkd.training.exchange import HostExchange
from pbkd.training.link import Outlet, RowRange, receive
from tests.pretended_device import DEVICE, PretendedDevice

CPU = torch.device("cpu")


class Peer:
    """Another worker, which the process group reaches, and what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Tensor] = []

    def gather(self, *values: Tensor, count: int = 0) -> tuple[Tensor, tuple[int, ...]]:
        self.sent += values
        return torch.stack([torch.cat(values)] * 2), (count, count)

    def add(self, values: Tensor) -> None:
        self.sent.append(values)

    def isend(self, rows: Tensor, _rank: int, **_tag: int) -> Peer:
        self.sent.append(rows)
        return self

    def irecv(self, rows: Tensor, _rank: int, **_tag: int) -> Peer:
        self.sent.append(rows)
        return self

    def wait(self) -> None:
        pass


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """A peer in a group of gloo, which takes tensors of the CPU alone."""
    other = Peer()
    monkeypatch.setattr(dist, "get_backend", lambda: "gloo")
    monkeypatch.setattr(dist, "isend", other.isend)
    monkeypatch.setattr(dist, "irecv", other.irecv)
    with PretendedDevice():
        yield other
    assert other.sent
    assert {tensor.device for tensor in other.sent} == {CPU}


def test_values_of_a_device_are_exchanged_on_the_cpu_and_come_back(peer: Peer) -> None:
    values = torch.zeros(3, device=DEVICE)
    rows, counts = HostExchange(peer).gather(values, values, count=5)
    assert (rows.shape, rows.device, counts) == ((2, 6), DEVICE, (5, 5))
    HostExchange(peer).add(values)
    assert len(peer.sent) == 3


@pytest.mark.parametrize("streams", [1, 2])
def test_activations_of_a_device_are_sent_and_received_on_the_cpu(peer: Peer, streams: int) -> None:
    others, shape = [RowRange(1, 0, 2)], (3, 5, 5)
    x = torch.zeros(2, *shape, device=DEVICE)
    outlet = Outlet(others, streams=streams)
    outlet.send((x, x))
    outlet.close()
    for pair in receive(others, shape, 2, DEVICE, streams=streams):
        assert [(each.shape, each.device) for each in pair] == [(x.shape, DEVICE)] * 2
    assert len(peer.sent) == 3 * streams
