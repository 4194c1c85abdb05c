"""Runs on networks as training left them, in whatever mode the program is."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

import pbkd
from pbkd.config.load import load_config
from pbkd.models.teacher import load_teacher
from pbkd.plugin.user_code import trusting_registry

if TYPE_CHECKING:
    from pathlib import Path


class Standardised(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(x, self.weight - self.weight.mean(), self.bias)
        return output


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict(
            {
                "conv1/3x3": nn.Conv2d(1, 8, 3, padding=1),
                "conv2\\3x3": parametrizations.weight_norm(nn.Conv2d(8, 8, 3, padding=1)),
                "conv3 3x3": Standardised(8, 8, 3, padding=1),
            }
        )
        self.fc, self.aux = nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor, *, scale: float | None = None) -> dict[str, Any]:
        for module in self.body.values():
            x = torch.relu_(module(x if scale is None else x * scale))
        features = x.mean((2, 3))
        return {"aux": self.aux(features), "main": self.fc(features), "maps": x}


def wrapped() -> nn.Module:
    return AveragedModel(nn.DataParallel(Net().half()))


def quick(folder: Path) -> dict[str, Any]:
    return {
        "quiet": True,
        "threads": 1,
        "meters": [],
        "target": {"block_drop": 100},
        "allow_chance": True,
        "out": str(folder),
        "distill": {"epochs": 1, "student_fed_epochs": 1},
        "finetune": {"epochs": 1},
    }


def test_all_at_once_gives_a_student_that_loads_and_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(100, 1, 8, 8), torch.arange(100) % 3
    network = wrapped()
    network.eval()(images[:2].half())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode())
        modes.enter_context(torch.autocast("cpu"))
        modes.enter_context(torch.device("meta"))

        async def compress() -> Any:
            return pbkd.compress(network, (images, labels), output="main", **quick(tmp_path))

        result = asyncio.run(compress())
        loaded = pbkd.load(result.folder, make=wrapped)
    replaced = {block.name for block in result.blocks if block.replaced}
    assert replaced == {"body_conv2_3x3", "body_conv3_3x3"}
    assert len([note for note in result.notes if "teacher" in note]) >= 5
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])
    student = result.student.network
    torch.testing.assert_close(loaded(images), student(images))
    for each in (loaded, student):
        assert all(parameter.requires_grad for parameter in each.parameters())
        loss = nn.functional.cross_entropy(each.train()(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(parameter.grad is not None for parameter in each.parameters())


MODULE = """
import torch
from torch import nn

torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)

def layers():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    )

def parallel():
    return nn.DataParallel(layers())

made = layers().bfloat16()
"""


@pytest.mark.parametrize(
    ("name", "notes"),
    [("layers", []), ("parallel", ["DataParallel"]), ("made", ["bfloat16"])],
)
def test_a_function_or_a_network_in_a_module_that_sets_modes_is_a_teacher(
    name: str, notes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"left_{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config([f"teacher=left_{name}:{name}", "teacher.mean=[0]", "teacher.std=[1]"])
    registry = trusting_registry(config.plugins, config.teacher["name"])
    teacher = load_teacher(registry, config.teacher)
    assert len(teacher.notes) == len(notes)
    assert all(text in note for text, note in zip(notes, teacher.notes, strict=True))
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert teacher.network(torch.zeros(1, 1, 8, 8)).dtype == torch.float32
