"""A network of the user's own, from a module in the current folder, from plan to baseline."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pbkd
from pbkd.data.normalization import Normalization
from pbkd.errors import ConfigError, RunFolderError, TeacherError, UnknownNameError
from pbkd.models.teacher import Teacher, load_teacher
from pbkd.models.weights import write_weights
from pbkd.pipeline.baselines.settings import BaselineSettings
from pbkd.pipeline.baselines.train import train_baselines
from pbkd.pipeline.run import run
from pbkd.pipeline.trust import open_config
from pbkd.plugin.registry import Registry
from pbkd.zoo.add import add_student

MODULE = '''
import torch
from torch import nn

def make(channels: int = 16):
    """Make two convolutions and a classifier, the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        body = [nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        body += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))

def nothing():
    return None

def failing():
    raise OSError("no such file: weights.bin")
'''
SCALE = ["teacher.mean=[0.5]", "teacher.std=[0.5]"]
QUICK = [
    "threads=1", "distill.epochs=1", "distill.student_fed_epochs=1", "finetune.epochs=1",
    "meters=[]", "target.block_drop=100", "allow_chance=true",
]  # fmt: skip


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The name of a module in the current folder, another one for each test."""
    monkeypatch.chdir(tmp_path)
    name = f"mine_{abs(hash(request.node.name))}"
    Path(f"{name}.py").write_text(MODULE)
    return name


def load_typed(registry: Registry, choice: dict[str, Any]) -> Teacher:
    return load_teacher(replace(registry, functions={choice["name"]}), choice)


def test_a_function_of_ones_own_is_a_teacher(module: str, registry: Registry) -> None:
    choice = {"name": f"{module}:make", "channels": 24, "mean": [0.5], "std": [0.5]}
    teacher = load_typed(registry, choice)
    assert teacher.normalization == Normalization((0.5,), (0.5,))
    assert teacher.weights == "its own"
    network = teacher.network
    assert isinstance(network, nn.Sequential)
    assert isinstance(network[0], nn.Conv2d)
    assert network[0].out_channels == 24
    weights = {key: value + 1 for key, value in network.state_dict().items()}
    write_weights(Path("w.safetensors"), weights)
    other = load_typed(registry, {**choice, "weights": "w.safetensors"}).network
    assert all(torch.equal(weights[key], value) for key, value in other.state_dict().items())


def test_it_is_compressed_kept_and_loaded_with_and_without_its_function(
    module: str, registry: Registry
) -> None:
    result = run(*open_config([f"teacher={module}:make", *SCALE, *QUICK]))
    assert [block.replaced for block in result.blocks] == [True]
    make = function_of(module)
    student = pbkd.load(result.folder, make=make)
    kept = add_student(registry, Path(result.folder), Path("zoo"), licence="MIT", half=True)
    images = torch.rand(4, 1, 8, 8)
    logits = pbkd.load(kept, make=make)(images)
    torch.testing.assert_close(logits, student(images), rtol=0, atol=0.02)  # half precision
    assert torch.equal(pbkd.load(result.folder)(images), student(images))
    assert torch.equal(pbkd.load(kept)(images), logits)
    (kept / "network.json").unlink()
    with pytest.raises(RunFolderError, match=rf"the network '{module}:make', whose code is not"):
        pbkd.load(kept)
    (scratch,) = train_baselines(
        Path(result.folder), BaselineSettings(methods=["scratch"], seconds=0.2, lr=0.01)
    ).values()
    assert 0 < scratch.score <= 1


def function_of(module: str) -> Callable[[], nn.Module]:
    make: Callable[[], nn.Module] = importlib.import_module(module).make
    return make


def test_normalisation_must_be_given(module: str, registry: Registry) -> None:
    with pytest.raises(ConfigError, match=r"give teacher\.mean and teacher\.std, a number for"):
        load_typed(registry, {"name": f"{module}:make"})


def test_what_is_wrong_with_ones_own_is_told(module: str, registry: Registry) -> None:
    def told(name: str) -> str:
        with pytest.raises((TeacherError, UnknownNameError)) as caught:
            load_typed(registry, {"name": name, "mean": [0.5], "std": [0.5]})
        return str(caught.value)

    assert told(f"{module}:mak").startswith(
        f"the module '{module}' has no function 'mak'. Did you mean 'make'?"
    )
    assert told(f"{module}:nothing") == "the teacher is of type NoneType, not a torch module."
    assert "cannot be built with these options: no such file" in told(f"{module}:failing")
    assert told("tim:resnet18").startswith("'tim' is neither a model nor a module of Python")
    assert "Did you mean 'timm'?" in told("tim:resnet18")
    Path(f"{module}_broken.py").write_text("import not_there_at_all")
    assert told(f"{module}_broken:make") == (
        f"the module '{module}_broken' cannot be imported: ModuleNotFoundError:"
        " No module named 'not_there_at_all'."
    )
