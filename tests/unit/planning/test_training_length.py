from __future__ import annotations

from pbkd.planning.training_length import TrainingLength, training_length

BATCH = 64


def length(images: int, depth: int, parameters: int) -> TrainingLength:
    return training_length(images, max(1, images // BATCH), depth, parameters)


def test_more_images_need_fewer_epochs_and_more_steps() -> None:
    images = [1_000, 5_000, 50_000, 1_000_000]
    epochs = [length(n, 18, 10_000).fine_tuning for n in images]
    steps = [n * e for n, e in zip(images, epochs, strict=True)]
    assert epochs == sorted(epochs, reverse=True)
    assert steps == sorted(steps)


def test_a_smaller_or_shallower_student_needs_more_epochs() -> None:
    for sizes in ([(18, 10**4), (18, 10**5), (18, 10**6)], [(6, 10**5), (18, 10**5), (54, 10**5)]):
        epochs = [length(20_000, *size).fine_tuning for size in sizes]
        assert epochs == sorted(set(epochs), reverse=True)


def test_a_large_student_still_gets_some_hundred_steps() -> None:
    assert length(1_000, 54, 10**12) == TrainingLength(4, 14)


def test_few_images_train_blocks_alone() -> None:
    assert length(10, 54, 10**5) == TrainingLength(300, 0)
    assert length(999, 18, 10**5) == TrainingLength(20, 0)
