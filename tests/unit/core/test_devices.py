from __future__ import annotations

import pytest
import torch

from pbkd.core.devices import describe_device, use_device


def test_the_accelerator_of_a_worker_becomes_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    for name in ("cpu", "cuda:1", "mps"):
        use_device(torch.device(name))
    assert chosen == [1]


def test_a_gpu_is_named_with_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H200")
    assert describe_device(torch.device("cuda:0")) == "cuda:0 (NVIDIA H200)"
    assert describe_device(torch.device("cpu")) == "cpu"
