from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import pbkd
from pbkd.data.batching import sequential_batches
from pbkd.data.datasets import Split
from pbkd.data.torch_data import dataset_from_torch
from pbkd.errors import ConfigError, DataError, IdentityError, TeacherError
from pbkd.models.weights import fingerprint
from pbkd.training.task import DistillationTask


class Pairs(Dataset[tuple[Tensor, int]]):
    """Images and labels one by one, as a user's own data set gives them."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.images[row], int(self.labels[row])


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def __iter__(self) -> Any:
        return (self.pairs[row] for row in range(len(self.pairs)))


def floats(digits: DistillationTask, split: Split) -> tuple[Tensor, Tensor]:
    """Return a split's first 400 images at most, normalised, and their labels."""
    images, labels = next(iter(sequential_batches(split, 400)))
    return digits.normalize(images).contiguous(), labels


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Keys of a run of a few seconds that replaces two blocks."""
    return {
        "quiet": True,
        "threads": 1,
        "meters": [],
        "out": str(tmp_path / "runs"),
        "keep": ["stem*", "head*", "conv1*", "conv2*"],
        "distill": {"epochs": 2, "student_fed_epochs": 1},
        "finetune": {"epochs": 1},
    }


def test_a_network_and_tensors_give_a_student(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    network = digits.teacher.network
    before, modes = fingerprint(network), [m.training for m in network.modules()]
    train, test = floats(digits, digits.data.train), floats(digits, digits.data.test)
    result = pbkd.compress(network, train, test=test, **options)
    student = result.student.network
    assert student is not None
    assert result.teacher.name == "memory:VGG"
    assert [block.name for block in result.blocks if block.replaced] == ["conv3_1", "conv3_2"]
    with torch.no_grad():
        right = (student(test[0]).argmax(1) == test[1]).float().mean()
    assert float(right) == pytest.approx(result.student.accuracy)
    assert result.student.accuracy is not None
    assert result.student.accuracy > 0.9
    assert result.teacher.network is None
    assert fingerprint(network) == before
    assert [m.training for m in network.modules()] == modes
    assert "network" not in json.loads((Path(result.folder) / "result.json").read_text())["student"]
    made = pbkd.load(result.folder, make=lambda: network)
    assert torch.equal(made(test[0]), student.eval()(test[0]))


def test_loaders_and_data_sets_give_what_tensors_give(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    network = digits.teacher.network
    train, test = floats(digits, digits.data.train), floats(digits, digits.data.test)
    pairs = Pairs(*train)
    sources: list[tuple[Any, Any]] = [
        (train, test),
        (DataLoader(pairs, batch_size=7, shuffle=True), DataLoader(TensorDataset(*test))),
        (DataLoader(Stream(pairs), batch_size=50), Pairs(*test)),
    ]
    found = [
        pbkd.compress(network, data, test=held, batch_size=64, **options) for data, held in sources
    ]
    weights = {fingerprint(r.student.network) for r in found if r.student.network}
    assert len(weights) == 1
    assert len({r.student.accuracy for r in found}) == 1


@pytest.mark.usefixtures("unshared")
def test_workers_get_what_the_program_has(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    train = floats(digits, digits.data.train)
    one, two = (
        pbkd.compress(digits.teacher.network, train, workers=workers, **options)
        for workers in (1, 2)
    )
    assert one.student.network
    assert two.student.network
    assert fingerprint(one.student.network) == fingerprint(two.student.network)
    assert {block.worker for block in two.blocks if block.replaced} <= {0, 1}


def test_without_labels_agreement_takes_the_place_of_accuracy(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    images, _ = floats(digits, digits.data.train)
    test, _ = floats(digits, digits.data.test)
    network = digits.teacher.network
    result = pbkd.compress(network, images, test=TensorDataset(test), **options)
    student = result.student
    assert (result.teacher.accuracy, student.accuracy) == (None, None)
    assert set(result.accuracies.values()) == {None}
    assert result.accuracy_reason == "the data 'memory' has no labels"
    assert student.network
    with torch.no_grad():
        same = (student.network(test).argmax(1) == network(test).argmax(1)).float().mean()
    assert student.agreement is not None
    assert student.agreement == pytest.approx(float(same))
    assert student.agreement == result.agreements["fine-tuned"]
    assert result.blocks[-1].solo_drop is not None
    card = (Path(result.folder) / "README.md").read_text()
    assert "Accuracy not measured: the data 'memory' has no labels." in card
    share = f"{100 * student.agreement:.2f} %"
    assert f"agrees with its teacher on {share} of 360 test images (95 %: " in card


def test_a_data_source_by_name_and_uint8_images(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    network, split = digits.teacher.network, digits.data.train
    named = pbkd.compress(network, "digits", mean=[0.5], std=[0.5], **options)
    assert named.teacher.accuracy == pytest.approx(0.9889, abs=1e-4)
    images = torch.cat([images for images, _ in sequential_batches(split, 400)])
    with pytest.raises(ConfigError, match="not known how the images are normalised"):
        pbkd.compress(network, (images, split.labels), **options)
    given = pbkd.compress(network, (images, split.labels), mean=[0.5], std=[0.5], **options)
    assert given.student.accuracy is not None
    assert given.student.accuracy > 0.9


def test_a_run_that_was_stopped_goes_on(
    digits: DistillationTask, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_args: object) -> None:
        raise KeyboardInterrupt

    network, train = digits.teacher.network, floats(digits, digits.data.train)
    whole = pbkd.compress(network, train, **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pbkd.pipeline.run.select", stopped)
        pbkd.compress(network, train, **options)
    (folder,) = (
        path
        for path in Path(options["out"]).iterdir()
        if not path.is_symlink() and str(path) != whole.folder
    )
    with pytest.raises(IdentityError, match="data.content"):
        pbkd.compress(network, (train[0], train[1].flip(0)), resume=folder, **options)
    resumed = pbkd.compress(network, train, resume=folder, **options)
    assert resumed.student.network
    assert whole.student.network
    assert fingerprint(resumed.student.network) == fingerprint(whole.student.network)


IMAGES, LABELS = torch.linspace(0, 1, 2560).reshape(40, 1, 8, 8), torch.arange(40) % 10


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ((IMAGES, LABELS), {"teacher": "x"}, ConfigError, "'teacher' is no option here"),
        ((IMAGES, LABELS), {"bilder": "x"}, ConfigError, "unknown key 'bilder'. Did you mean"),
        ("digits", {"test": IMAGES}, ConfigError, "a data choice has its own validation and test"),
        ({"train": IMAGES}, {}, ConfigError, "given one by one, as data, validation and test"),
        (7, {}, DataError, "a int cannot be read from: give a torch DataLoader"),
        ((IMAGES, LABELS), {"test": IMAGES.clone()}, DataError, "some of the images have labels"),
        (IMAGES, {"test": IMAGES[:, :, :4].clone()}, DataError, "all the same, but are"),
        (IMAGES[0], {}, DataError, "images must be"),
        ([{"x": 1}] * 9, {}, DataError, r"must be \(N, channels, height, width\), but"),
        ((IMAGES, LABELS + 5), {}, TeacherError, "run from 5 to 14, but .* subtract 5"),
        ((IMAGES[:, [0, 0, 0]], LABELS), {}, TeacherError, "cannot take images"),
    ],
    ids=[
        "teacher",
        "key",
        "splits",
        "mapping",
        "source",
        "labels",
        "shapes",
        "dimensions",
        "batch",
        "classes",
        "channels",
    ],
)
def test_mistakes_are_told(
    digits: DistillationTask,
    tmp_path: Path,
    data: Any,
    options: dict[str, Any],
    error: Any,
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        pbkd.compress(digits.teacher.network, data, quiet=True, out=str(tmp_path), **options)
    assert not list(tmp_path.iterdir())


def test_a_teacher_with_its_classes_in_another_order_is_stopped_before_training(
    digits: DistillationTask, options: dict[str, Any]
) -> None:
    images, labels = floats(digits, digits.data.train)
    with pytest.raises(TeacherError, match="with its classes in another order it would be"):
        pbkd.compress(digits.teacher.network, (images, (labels + 1) % 10), **options)
    assert not any(Path(options["out"]).glob("*"))


def test_workers_are_refused_what_cannot_be_sent(digits: DistillationTask) -> None:
    class Local(nn.Sequential):
        """Cannot be pickled: its class is inside a function."""

    with pytest.raises(ConfigError, match="cannot be handed to worker processes .* use workers=1"):
        pbkd.compress(Local(digits.teacher.network), (IMAGES, LABELS), workers=2, quiet=True)


def test_a_program_that_is_imported_by_its_worker_runs_nothing(
    digits: DistillationTask, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match=r"belongs below `if __name__ == '__main__':`\.$"):
        pbkd.compress(digits.teacher.network, "digits", mean=[0.5], std=[0.5], **options)
    assert not any(Path(options["out"]).glob("*"))


def test_labels_are_read_once_where_a_data_set_does_not_have_them() -> None:
    pairs = Pairs(IMAGES, LABELS)
    data = dataset_from_torch(pairs, None, None)
    assert (data.num_classes, data.image_shape, data.labelled) == (10, (1, 8, 8), True)
    held = len(data.train), len(data.validation), len(data.test)
    assert held == (32, 4, 4)
    every = torch.cat([split.labels for split in (data.train, data.validation, data.test)])
    assert sorted(every.tolist()) == sorted(LABELS.tolist())
    rows = torch.tensor([3, 0])
    assert torch.equal(data.test.images(rows), next(data.test.read([(rows, None)])))  # type: ignore[attr-defined]
