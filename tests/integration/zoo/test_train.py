from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from omegaconf import OmegaConf
from pbkd_synthetic import SyntheticSource

from pbkd.config.yaml_files import read_yaml
from pbkd.core.events import EpochDone
from pbkd.errors import (
    ConfigError,
    DataError,
    RunFolderError,
    TeacherError,
    UnknownNameError,
    WeightsError,
)
from pbkd.models.accuracy import accuracy, predict_classes
from pbkd.models.metrics import parameters
from pbkd.models.teacher import find_model, load_teacher
from pbkd.models.weights import fingerprint, read_weights
from pbkd.zoo.card import read_card
from pbkd.zoo.train import train_model

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.events import Event
    from pbkd.data.datasets import Split
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

# Eight classes of coarse patterns on 16x16 images: a narrow ResNet learns them in an epoch.
SMALL = [
    "teacher.width=4",
    "teacher.num_classes=8",
    "data={name: synthetic, classes: 8, height: 16, width: 16, count: 640}",
    "batch_size=32",
    "device=cpu",
]
ONE_EPOCH = ["epochs=1", *SMALL]


def train(
    registry: Registry, out: Path, *overrides: str, name: str = "resnet20"
) -> tuple[Path, list[EpochDone]]:
    events: list[Event] = []
    trained = train_model(registry, name, overrides, out, events.append)
    return trained.card, [event for event in events if isinstance(event, EpochDone)]


def test_training_writes_weights_and_a_card(registry: Registry, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    path, epochs = train(registry, out, "epochs=2", *SMALL, "licence=MIT")
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "resnet20.safetensors",
        "resnet20.yaml",
    ]
    weights = path.with_suffix(".safetensors")
    card = OmegaConf.load(path)
    assert [done.epoch for done in epochs] == [1, 2]
    assert epochs[1].loss < epochs[0].loss
    assert card.accuracy.validation == max(done.accuracy or 0 for done in epochs) > 0.5
    assert card.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (card.name, card.recipe.epochs, card.recipe.batch_size) == ("resnet20", 2, 32)
    assert (card.licence, "licence" in card.recipe) == ("MIT", False)
    assert card.recipe.teacher == {"name": "resnet20", "width": 4, "num_classes": 8}
    assert card.command.startswith("pbkd zoo train resnet20 epochs=2 teacher.width=4 ")
    assert "'data={name: synthetic, classes: 8" in card.command  # quoted for a shell


def test_what_was_trained_is_a_teacher_as_good_as_its_card_says(
    registry: Registry, tmp_path: Path
) -> None:
    path, _ = train(registry, tmp_path, *ONE_EPOCH)
    card = OmegaConf.load(path)
    weights = str(path.with_suffix(".safetensors"))
    teacher = load_teacher(registry, {**card.recipe.teacher, "weights": weights})
    data = SyntheticSource(classes=8, height=16, width=16, count=640).load()
    assert read_card(path).licence is None, "nobody has given one"
    found = accuracy(teacher.network, data.test, teacher.normalization, device="cpu")
    assert found == card.accuracy.test
    assert parameters(teacher.network) == card.parameters


def test_weights_are_written_in_half_precision_also_when_trained_in_bf16(
    registry: Registry, tmp_path: Path
) -> None:
    path, _ = train(registry, tmp_path, *ONE_EPOCH, "autocast=bf16")
    weights = read_weights(path.with_suffix(".safetensors"))
    types = {tensor.dtype for tensor in weights.values()}
    assert types == {torch.float16, torch.int64}  # the count of batches
    assert OmegaConf.load(path).accuracy.validation > 0.2  # an eighth would be chance


def test_the_seed_and_nothing_else_decides_the_weights(registry: Registry, tmp_path: Path) -> None:
    def digest(folder: str, *overrides: str) -> str:
        path, _ = train(registry, tmp_path / folder, *ONE_EPOCH, *overrides)
        return str(OmegaConf.load(path).sha256)

    first = digest("first")
    torch.manual_seed(12345)
    state = torch.get_rng_state()
    assert digest("second") == first
    assert torch.equal(torch.get_rng_state(), state)
    assert digest("third", "seed=1") != first


def test_the_test_split_is_for_the_card_alone(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: DistillationTask
) -> None:
    scored: list[Split] = []

    def watch(network: torch.nn.Module, split: Split, *args: object, **options: object) -> float:
        scored.append(split)
        return accuracy(network, split, *args, **options)  # type: ignore[arg-type]

    def watch_classes(
        network: torch.nn.Module, split: Split, *args: object, **options: object
    ) -> torch.Tensor:
        scored.append(split)
        return predict_classes(network, split, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("pbkd.zoo.train.accuracy", watch)
    monkeypatch.setattr("pbkd.training.trainee.predict_classes", watch_classes)
    monkeypatch.setattr("pbkd.training.inputs.load_data", lambda _choice, _registry: digits.data)
    train(registry, tmp_path, "epochs=1", "device=cpu", name="digits-vgg")
    assert scored == [digits.data.validation] * 3 + [digits.data.test]


def test_the_recipe_comes_from_the_card_and_the_overrides(
    registry: Registry, tmp_path: Path
) -> None:
    path, epochs = train(registry, tmp_path, "epochs=1", "device=cpu", name="digits-vgg")
    model, _ = find_model(registry, "digits-vgg")
    assert model.card is not None
    shipped = read_yaml(model.card)["recipe"]
    assert OmegaConf.to_container(OmegaConf.load(path).recipe) == {
        **shipped,
        "epochs": 1,
        "augmentation": {"name": "source"},
        "schedule": {"name": "cosine"},
        "device": "cpu",
        "autocast": "none",
    }
    assert len(epochs) == 1
    teacher = load_teacher(
        registry, {"name": "digits-vgg", "weights": str(path.with_suffix(".safetensors"))}
    )
    shipped_teacher = load_teacher(registry, {"name": "digits-vgg"})
    assert fingerprint(teacher.network) != fingerprint(shipped_teacher.network)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("epoch=3", "unknown key 'epoch'. Did you mean 'epochs'?"),
        ("workers=2", "unknown key 'workers'."),
        ("epochs=many", "'epochs': Value 'many'"),
        ("epochs=0", "'epochs' is 0, but must be at least 1."),
        ("lr=-1", "'lr' is -1.0, but must be above 0."),
        ("lr=inf", "'lr' is inf, but must be finite."),
        ("weight_decay=-1", "'weight_decay' is -1.0, but must be at least 0."),
        ("batch_size=1", "'batch_size' is 1, but must be at least 2."),
        ("device=tpu", "'device' is 'tpu', but must be one of auto, cpu, cuda, mps."),
        ("autocast=fp8", "'autocast' is 'fp8', but must be one of none, bf16, fp16."),
        ("data=digit", "unknown data 'digit'. Did you mean 'digits'?"),
        ("data=", "'data' is '', but must be a name."),
        ("data.crops=1", "unknown option 'data.crops'. Did you mean 'crop'?"),
        ("teacher.widht=4", "unknown option 'teacher.widht'. Did you mean 'width'?"),
        ("teacher=vgg11", "'teacher' is 'vgg11', but 'resnet20' is to be trained."),
        ("teacher.weights=x.pt", "there is no file of weights 'x.pt'."),
        ("teacher.mean=[0.5]", "'teacher.mean'"),
        ("epochs", "'epochs' is not an override"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused_before_anything_is_written(
    registry: Registry, tmp_path: Path, override: str, told: str
) -> None:
    with pytest.raises((ConfigError, UnknownNameError, WeightsError)) as caught:
        train(registry, tmp_path / "out", override)
    assert str(caught.value).startswith(told)
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_the_network_is_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="'digits' has 1 channels, but the teacher"):
        train(registry, tmp_path)
    with pytest.raises(TeacherError, match="run from 0 to 11, but the teacher has 10 outputs"):
        train(registry, tmp_path, "data={name: synthetic, classes: 12}")
    with pytest.raises(DataError, match=r"data\.count is 0"):
        train(registry, tmp_path, "data={name: synthetic, count: 0}")
    with pytest.raises(TeacherError, match="cannot take images of shape"):
        tiny = "data={name: synthetic, height: 8, width: 8}"
        train(registry, tmp_path, tiny, name="torchvision:squeezenet1_1")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_there_is_told(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet20'"):
        train(registry, tmp_path, name="resnet200")


def test_a_folder_that_cannot_be_written_is_told(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        train(registry, tmp_path / "file", *ONE_EPOCH)
