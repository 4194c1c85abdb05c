"""Training that goes on from weights: a file's, or those that the user's function returns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_zoo.resnet import CifarResNet, resnet20

from pbkd.config.yaml_files import read_yaml
from pbkd.core.events import Note
from pbkd.errors import ConfigError
from pbkd.models.teacher import load_untrained
from pbkd.models.weights import write_weights
from pbkd.zoo.train import Trained, train_model
from pbkd.zoo.training_recipe import has_trained_weights

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.events import Event
    from pbkd.plugin.registry import Registry

NAME = f"{__name__}:narrow"
STATISTICS = ["teacher.mean=[0.5, 0.5, 0.5]", "teacher.std=[0.25, 0.25, 0.25]"]
DATA = [
    "data={name: synthetic, classes: 8, height: 16, width: 16, count: 160}",
    "batch_size=32",
    "device=cpu",
    "epochs=1",
]


def narrow() -> CifarResNet:
    return resnet20(width=4, num_classes=8)


def with_a_new_head() -> CifarResNet:
    network = narrow()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network.load_state_dict(narrow().state_dict())
    torch.nn.init.normal_(network.linear.weight)
    return network


def train(registry: Registry, out: Path, *overrides: str) -> tuple[Trained, str]:
    events: list[Event] = []
    trusting = replace(registry, functions={NAME})
    trained = train_model(trusting, NAME, [*STATISTICS, *DATA, *overrides], out, events.append)
    return trained, " ".join(event.text for event in events if isinstance(event, Note))


def test_a_function_s_network_is_trained_and_goes_on_from_a_file(
    registry: Registry, tmp_path: Path
) -> None:
    first, told = train(registry, tmp_path / "first")
    assert first.weights.name == f"{NAME.replace(':', '-')}.safetensors"
    assert "learning rate 0.003." in told
    assert "starts from" not in told
    second, told = train(registry, tmp_path / "second", f"teacher.weights={first.weights}")
    assert "learning rate 3e-05." in told
    start = f"It starts from the weights of {first.weights}: {100 * first.validation:.2f} % of"
    assert start in told
    assert second.validation >= first.validation
    recipe = read_yaml(second.card)["recipe"]
    assert recipe["teacher"]["mean"] == [0.5, 0.5, 0.5]
    assert (recipe["epochs"], recipe["lr"]) == (1, 0.00003)
    assert f"teacher.weights={second.weights} " in second.command
    assert "'teacher.mean=[0.5, 0.5, 0.5]'" in second.command


def test_weights_that_no_epoch_improves_are_kept(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = narrow().half().float()
    write_weights(tmp_path / "start.safetensors", network.state_dict())
    scores = iter([0.5, 0.25, 0.5, 0.5])
    for function in ("zoo.train.accuracy", "training.trainee.share_correct"):
        monkeypatch.setattr(f"pbkd.{function}", lambda *_args, **_options: next(scores))
    start = f"teacher.weights={tmp_path / 'start.safetensors'}"
    trained, told = train(registry, tmp_path, start)
    assert "No epoch was better than the start" in told
    kept = load_untrained(
        replace(registry, functions={NAME}),
        {"name": NAME, "weights": str(trained.weights), "mean": [0.5] * 3, "std": [1.0] * 3},
    )
    for name, tensor in network.state_dict().items():
        assert torch.equal(kept.network.state_dict()[name], tensor), name


@pytest.mark.parametrize(("function", "is_trained"), [(narrow, False), (with_a_new_head, True)])
def test_a_function_s_weights_are_trained_ones_if_it_does_not_draw_them(
    registry: Registry, function: object, is_trained: bool
) -> None:
    name = f"{__name__}:{function.__name__}"  # type: ignore[attr-defined]
    trusting = replace(registry, functions={name})
    choice = {"name": name, "mean": [0.5] * 3, "std": [0.25] * 3}
    assert has_trained_weights(trusting, choice, load_untrained(trusting, choice)) == is_trained


def test_mean_and_std_of_a_function_s_images_are_asked_for(
    registry: Registry, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"give teacher\.mean and teacher\.std"):
        train_model(replace(registry, functions={NAME}), NAME, DATA, tmp_path)
