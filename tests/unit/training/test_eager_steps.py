from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from pbkd.core.compiler import without_compiler
from pbkd.models.metrics import macs
from pbkd.training.eager_steps import build_without_compiler, step_without_compiler

HIDDEN = (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.load_state_dict)


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every import of torch's compiler fail, as if nothing had imported it yet."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)
    for function in HIDDEN:
        monkeypatch.delattr(wrapped(function), "__dynamo_disable", raising=False)


def wrapped(function: Any) -> Any:
    return function.__wrapped__


def trained(optimiser: Optimizer, parameter: Tensor) -> Tensor:
    for _ in range(3):
        optimiser.zero_grad()
        (parameter**2).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
    return parameter.detach()


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_an_optimiser_of_torch_trains_the_same_without_the_compiler(
    kind: type[Any], request: pytest.FixtureRequest
) -> None:
    first, second = (nn.Parameter(torch.arange(4.0)) for _ in range(2))
    expected = trained(kind([first], lr=0.1), first)
    request.getfixturevalue("no_compiler")
    build_without_compiler()
    optimiser = kind([second], lr=0.1)
    step_without_compiler(optimiser)
    steps: list[Optimizer] = []
    optimiser.register_step_post_hook(lambda taken, *_: steps.append(taken))
    assert torch.equal(trained(optimiser, second), expected)
    assert steps == [optimiser] * 3


@pytest.mark.usefixtures("no_compiler")
def test_multiply_accumulates_are_counted_without_the_compiler() -> None:
    assert macs(nn.Conv2d(2, 3, 1, bias=False), (2, 5, 5)) == 2 * 3 * 25


def test_a_function_is_hidden_from_the_compiler_as_soon_as_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def inner(value: int) -> int:
        return value + 1

    def outer(value: int) -> Any:
        calls.append(value)
        return getattr(inner, "__dynamo_disable", inner)(value)

    outer.__wrapped__ = inner  # type: ignore[attr-defined]
    without_compiler(outer)
    monkeypatch.delitem(sys.modules, "torch._dynamo", raising=False)
    assert outer(1) == 2
    assert calls == [1]
    monkeypatch.setitem(sys.modules, "torch._dynamo", sys)
    assert outer(2) == 3
    assert calls == [1, 2, 2]
    assert not hasattr(inner, "__dynamo_disable")
