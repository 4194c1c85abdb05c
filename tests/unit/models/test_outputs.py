from __future__ import annotations

import copy
import pickle
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import TeacherError
from pbkd.models.outputs import LogitsHook, find_logits, logits_options

LOGITS = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]])
FEATURES = torch.ones(2, 5)
MAPS = torch.ones(2, 3, 4, 4)
Named = namedtuple("Named", "logits aux")


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor
    hidden: tuple[Tensor, ...]


OUTPUTS: dict[str, Any] = {
    "0": (LOGITS, None),
    "1": [MAPS, LOGITS, FEATURES],
    "logits": {"logits": LOGITS},
    "y": OrderedDict(maps=MAPS, y=LOGITS),
    "logits ": Named(LOGITS, None),
    "logits  ": Output(None, LOGITS, (MAPS, FEATURES)),
    "logits   ": SimpleNamespace(logits=LOGITS, name="net"),
    "out.1": {"out": (MAPS, LOGITS)},
}


@pytest.mark.parametrize("key", OUTPUTS)
def test_the_only_tensor_of_images_and_classes_is_taken(key: str) -> None:
    hook, notes = find_logits(OUTPUTS[key], 3, None)
    assert hook is not None
    assert torch.equal(hook(nn.Identity(), (), OUTPUTS[key]), LOGITS)
    assert notes == [f"Of the teacher's outputs, '{key.strip()}' is taken as the logits."]


def test_logits_alone_are_left_as_they_are() -> None:
    assert find_logits(LOGITS, 3, None) == (None, [])
    assert find_logits(LOGITS.log_softmax(1), 3, None) == (None, [])


@pytest.mark.parametrize("chosen", ["aux", "1"])
@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda **parts: Named(**parts)])
def test_one_of_several_is_chosen_by_key_name_or_index(kind: Any, chosen: str) -> None:
    output = kind(logits=LOGITS, aux=-LOGITS)
    hook, _ = find_logits(output, 3, chosen)
    assert hook is not None
    assert torch.equal(hook(nn.Identity(), (), output), -LOGITS)


def test_without_a_choice_several_are_listed() -> None:
    with pytest.raises(TeacherError, match=r"'a' \(2, 3\), 'b\.0' \(2, 3\).*teacher\.output=a"):
        find_logits({"a": LOGITS, "b": [LOGITS]}, 3, None)


def test_a_choice_that_does_not_exist_lists_what_does() -> None:
    with pytest.raises(TeacherError, match=r"no tensor 'lgits'.*'logits' \(2, 3\)"):
        find_logits({"logits": LOGITS}, 3, "lgits")


@pytest.mark.parametrize("output", [{"out": MAPS}, None, (), LOGITS.numpy(), [None, MAPS]])
def test_outputs_without_logits_are_refused(output: Any) -> None:
    with pytest.raises(TeacherError, match="without logits"):
        find_logits(output, 3, None)


def test_probabilities_are_taken_by_their_logarithm() -> None:
    hook, notes = find_logits({"p": LOGITS.softmax(1)}, 3, None)
    assert hook == LogitsHook(("p",), probabilities=True)
    logits = hook(nn.Identity(), (), {"p": LOGITS.softmax(1)})
    torch.testing.assert_close(logits.softmax(1), LOGITS.softmax(1))
    assert "probabilities" in notes[1]
    impossible = hook(nn.Identity(), (), {"p": torch.tensor([[0.0, 1.0]])})
    assert impossible.isfinite().all()


def test_whether_they_are_probabilities_can_be_said() -> None:
    assert find_logits(LOGITS.softmax(1), 3, None, probabilities=False) == (None, [])
    hook, _ = find_logits(LOGITS.sigmoid(), 3, None, probabilities=True)
    assert hook == LogitsHook((), probabilities=True)


def test_what_a_network_returns_is_known_from_its_copies_too() -> None:
    network = nn.Identity()
    assert logits_options(network) == {}
    network.register_forward_hook(LogitsHook(("out", "0"), probabilities=True))
    for same in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert logits_options(same) == {"output": "out.0", "probabilities": True}
