"""A teacher near chance: what stops a run, what is only reported, and which cause is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pbkd.data.datasets import ArraySplit
from pbkd.data.normalization import Normalization
from pbkd.errors import TeacherError
from pbkd.pipeline.chance_causes import Predictions
from pbkd.pipeline.teacher_check import chance, check_teacher, doubt_teacher, score_teacher
from pbkd.training.task import DistillationTask

Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class _Answers(nn.Module):
    """A network that reads its answer from the first pixel."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.one_hot(
            images[:, 0, 0, 0].long().clamp(0, self.classes - 1), self.classes
        ).float()


def with_splits(task: DistillationTask, **changes: Change) -> DistillationTask:
    """Change images and labels of some splits of 300 images."""
    splits: dict[str, Any] = {}
    for name, change in changes.items():
        rows = torch.arange(300)
        split = task.data.train
        splits[name] = ArraySplit(*change(split.images(rows), split.labels[rows]))
    return replace(task, data=replace(task.data, **splits))


def test_of_a_large_split_a_sample_from_all_over_it_is_scored(digits: DistillationTask) -> None:
    labels = torch.arange(4_000) // 400  # sorted by class
    task = answering(digits, labels.where(labels < 9, 0), labels)
    scored = score_teacher(task)
    assert scored.images == 1_000
    assert scored.accuracy == pytest.approx(0.9, abs=0.03)
    assert doubt_teacher(task) is None
    assert not task.teacher_classes_are_known
    many = replace(task, data=replace(task.data, num_classes=300))
    assert score_teacher(many).images == 4_000


def with_network(task: DistillationTask, network: nn.Module) -> DistillationTask:
    return replace(task, teacher=replace(task.teacher, network=network, weights="given"))


def answering(
    task: DistillationTask, answers: Tensor, labels: Tensor, weights: str = "given"
) -> DistillationTask:
    """A task whose teacher gives these answers to test and validation images."""
    split = ArraySplit(answers.float().view(-1, 1, 1, 1).repeat(1, 1, 8, 8), labels)
    classes = max(2, int(max(answers.max(), labels.max())) + 1)
    data = replace(task.data, train=split, validation=split, test=split, num_classes=classes)
    teacher = replace(
        task.teacher,
        network=_Answers(classes),
        normalization=Normalization.identity(1),
        weights=weights,
    )
    return replace(task, data=data, teacher=teacher)


def both(change: Change) -> dict[str, Change]:
    return {"test": change, "validation": change}


def test_a_good_teacher_raises_no_doubt(digits: DistillationTask) -> None:
    assert doubt_teacher(digits) is None
    assert check_teacher(digits, allow_chance=False) == ()


ORDER = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7]).roll(1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda x, y: (x, ORDER[y]), "with its classes in another order"),
        (lambda x, y: (x, 9 - y), "with its classes in another order"),
        (lambda x, y: (x[y < 9], y[y < 9] + 1), "with classes that are counted from 1"),
        (lambda x, y: (x.float() / 1e4, y), "with mean [0.00781] and std [0.00962]"),
        (lambda x, y: (x.flip(0), y), None),
    ],
    ids=["permuted", "reversed", "from 1", "dark", "shuffled"],
)
def test_a_teacher_near_chance_stops_with_the_cause_if_it_is_found(
    digits: DistillationTask, change: Change, what: str | None
) -> None:
    with pytest.raises(TeacherError) as raised:
        check_teacher(with_splits(digits, **both(change)), allow_chance=False)
    said = str(raised.value)
    assert said.startswith("the teacher 'digits-vgg' is right on ")
    assert " test images, where chance is right on " in said
    assert said.endswith(", or give allow_chance=true to go on all the same.")
    if what:
        assert f"but {what} it would be right on 9" in said
    else:
        assert "the order of its classes, the normalisation" in said


def test_a_wrong_normalisation_is_named_with_the_one_that_would_be_right(
    digits: DistillationTask,
) -> None:
    wrong = replace(digits.teacher, normalization=Normalization((-20.0,), (0.01,)))
    doubt = doubt_teacher(replace(digits, teacher=wrong))
    assert doubt is not None and doubt.stops
    assert "mean [0.5] and std [0.5] it would be right on 9" in doubt.text


def test_reversed_channels_are_named(digits: DistillationTask) -> None:
    class First(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.network(images[:, :1])
            return logits

    def colour(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        noise = images[torch.arange(len(images)).roll(7)]
        return torch.cat([noise, noise, images], 1), labels

    task = with_network(digits, First(digits.teacher.network))
    three = replace(task.teacher, normalization=Normalization((0.5,) * 3, (0.5,) * 3))
    doubt = doubt_teacher(replace(with_splits(task, **both(colour)), teacher=three))
    assert doubt is not None
    assert "with channels in the reverse order it would be right on 9" in doubt.text


def test_missing_statistics_of_batchnorm_are_named(digits: DistillationTask) -> None:
    scale = nn.BatchNorm2d(1).eval()
    with torch.no_grad():
        assert scale.running_mean is not None
        scale.running_mean.fill_(40.0)
    doubt = doubt_teacher(with_network(digits, nn.Sequential(scale, digits.teacher.network)))
    assert doubt is not None
    assert "with BatchNorm's statistics taken from these images it would be right" in doubt.text


def test_a_network_that_takes_no_other_images_is_stopped_all_the_same(
    digits: DistillationTask,
) -> None:
    class Careful(_Answers):
        def forward(self, images: Tensor) -> Tensor:
            assert images.min() >= 0
            return super().forward(images)

        def __deepcopy__(self, memo: object) -> Careful:
            raise TypeError("cannot be copied")

    task = answering(digits, torch.zeros(300).long(), torch.arange(300) % 10)
    identity = Normalization.identity(1)
    careful = replace(task.teacher, network=Careful(10), normalization=identity)
    doubt = doubt_teacher(replace(task, teacher=careful))
    assert doubt is not None and doubt.stops


def test_classes_sorted_as_text_are_named(digits: DistillationTask) -> None:
    labels = torch.arange(240) % 24
    by_text = torch.tensor(sorted(range(24), key=str))
    doubt = doubt_teacher(answering(digits, by_text[labels], labels))
    assert doubt is not None
    assert "with its classes sorted as text instead of as numbers it would" in doubt.text


@pytest.mark.parametrize(
    ("answers", "labels", "stops"),
    [
        (torch.zeros(300), torch.arange(300) % 10, True),  # one class for all
        (torch.zeros(300), torch.tensor([0] * 285 + [1] * 15), False),  # 95 % right, as chance is
        (torch.zeros(9000), torch.tensor([0] * 8550 + [1] * 450), True),
        (1 - torch.arange(300) % 2, torch.arange(300) % 2, True),  # two classes swapped
        (torch.arange(20) % 10, torch.arange(20).roll(1) % 10, False),  # too few to tell
        (torch.arange(300) % 7, torch.arange(300) % 10, True),
        (torch.arange(900) % 1000, torch.arange(900) % 10, True),  # a thousand classes for ten
        (torch.arange(300) % 10, (torch.arange(300) % 10) * (torch.arange(300) % 4 == 0), False),
    ],
)
def test_chance_depends_on_the_shares_of_labels_and_answers(
    digits: DistillationTask, answers: Tensor, labels: Tensor, stops: bool
) -> None:
    doubt = doubt_teacher(answering(digits, answers.long(), labels))
    assert (doubt is not None and doubt.stops) == stops


def test_chance_is_cohens() -> None:
    shares = Predictions(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 2, 2, 1]))
    assert chance(shares) == pytest.approx(0.75 * 0.25 + 0.25 * 0.25)


def test_a_teacher_that_is_right_on_validation_is_reported_and_not_stopped(
    digits: DistillationTask,
) -> None:
    odd = with_splits(digits, test=lambda x, y: (x, ORDER[y]))
    (note,) = check_teacher(odd, allow_chance=False)
    assert note.startswith("The teacher 'digits-vgg' is right on ")
    assert "validation images: check that both splits are of one kind." in note


@pytest.mark.parametrize(
    ("order", "is_doubted"),
    [
        ([0, 1, 3, 2], True),  # half right
        ([0, 2, 1, 3], True),
        ([0, 1, 2, 3], False),
        ([0, 1, 2, 2], False),  # a class that is never given is no other order
    ],
)
def test_a_partly_wrong_order_of_the_classes_is_reported(
    digits: DistillationTask, order: list[int], is_doubted: bool
) -> None:
    labels = torch.arange(400) % 4
    answers = torch.tensor(order)[labels]
    answers[::9] = (answers[::9] + 1) % 4
    notes = check_teacher(answering(digits, answers, labels), allow_chance=False)
    assert [("in another order it would be right on 8" in note) for note in notes] == (
        [True] if is_doubted else []
    )


def test_few_images_of_many_classes_prove_no_other_order(digits: DistillationTask) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 150
    guesses = torch.randint(150, (300,), generator=generator)
    answers = torch.where(torch.arange(300) % 5 < 2, labels, guesses)  # 40 % are right
    assert doubt_teacher(answering(digits, answers, labels)) is None


def test_a_teacher_near_chance_on_test_alone_is_not_called_good_on_few_validation_images(
    digits: DistillationTask,
) -> None:
    task = answering(digits, torch.zeros(300).long(), torch.arange(300) % 10)
    few = ArraySplit(task.data.test.images(torch.arange(20)), torch.arange(20) % 10)
    doubt = doubt_teacher(replace(task, data=replace(task.data, validation=few)))
    assert doubt is not None and not doubt.stops
    assert doubt.text.endswith("the order of the channels and the weights.")


def test_the_key_turns_the_stop_into_a_note(digits: DistillationTask) -> None:
    odd = with_splits(digits, **both(lambda x, y: (x, ORDER[y])))
    (note,) = check_teacher(odd, allow_chance=True)
    assert "in another order it would be right" in note


def test_random_weights_by_choice_and_images_without_labels_are_not_checked(
    digits: DistillationTask,
) -> None:
    answers, labels = torch.zeros(300).long(), torch.arange(300) % 10
    assert doubt_teacher(answering(digits, answers, labels, weights="random")) is None
    wrong = answering(digits, answers, labels)
    assert doubt_teacher(replace(wrong, data=replace(wrong.data, num_classes=None))) is None
