from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from pbkd.errors import WorkerError
from pbkd.execution.process_group import _backend, process_group
from pbkd.execution.store import private_store

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with private_store() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield


def test_a_group_is_made_by_its_workers_and_ends_with_the_context() -> None:
    with process_group(CPU, 0, 1, "teacher-fed") as create_group:
        assert dist.get_backend() == "gloo"
        mine = create_group([0])
        assert dist.get_process_group_ranks(mine) == [0]
        assert create_group([1, 2]) is None
    assert not dist.is_initialized()


@pytest.mark.parametrize("strangers", [2, 1000])
def test_a_group_with_a_stranger_is_made_again_and_at_last_given_up(
    strangers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = iter(range(strangers))
    monkeypatch.setattr(
        "pbkd.execution.process_group._prove", lambda *_: next(attempts, None) is None
    )
    if strangers == 2:
        with process_group(CPU, 0, 1, "teacher-fed"):
            assert next(attempts, None) is None
    else:
        with (
            pytest.raises(WorkerError, match="took the connections between the workers 20 times"),
            process_group(CPU, 0, 1, "teacher-fed"),
        ):
            pass
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("mine", "theirs", "backend"),
    [("GPU-a", "GPU-b", "nccl"), ("GPU-a", "GPU-a", "gloo"), ("GPU-a", "", "gloo")],
)
def test_nccl_connects_workers_with_a_gpu_each(
    mine: str, theirs: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = SimpleNamespace(uuid=mine)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: found)
    store = dist.HashStore()  # type: ignore[attr-defined]
    store.set("1", theirs)
    assert _backend(torch.device("cuda:0"), 0, 2, store) == backend
