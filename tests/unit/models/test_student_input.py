from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import pbkd
from pbkd.errors import ConfigError
from pbkd.models.student_input import class_names_of, preparation_of

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def student() -> nn.Sequential:
    return pbkd.load("digits-vgg-small")


def test_a_loaded_student_knows_its_input_and_classes(student: nn.Sequential) -> None:
    assert preparation_of(student).image_shape == (1, 8, 8)
    assert class_names_of(student) == student.class_names == DIGITS


@pytest.mark.parametrize(
    "again",
    [
        copy.deepcopy,
        lambda network: pickle.loads(pickle.dumps(network)),
        nn.DataParallel,
        torch.optim.swa_utils.AveragedModel,
        lambda network: nn.DataParallel(torch.optim.swa_utils.AveragedModel(network)),
        lambda network: torch.compile(network, backend="eager"),
        lambda network: network.double().float(),
    ],
)
def test_copies_and_wrappers_know_it_too(student: nn.Sequential, again: object) -> None:
    assert callable(again)
    other = again(student)
    assert preparation_of(other) == preparation_of(student)
    assert class_names_of(other) == DIGITS


def test_folder_name_and_network_give_the_same_transform(student: nn.Sequential) -> None:
    pixels = torch.randint(256, (1, 8, 8), dtype=torch.uint8)
    wanted = (pixels / 255 - 0.5) / 0.5
    for source in (student, "digits-vgg-small"):
        assert torch.equal(pbkd.transform(source)(pixels), wanted)


def test_another_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="this Linear does not know how its images are prepared"):
        pbkd.transform(nn.Linear(2, 3))
