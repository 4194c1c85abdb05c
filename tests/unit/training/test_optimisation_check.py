"""Optimisers and schedules that do not keep their contract are refused before a run."""

from __future__ import annotations

import random
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn, optim

from pbkd.errors import PluginError
from pbkd.training.optimisation_check import check_optimiser, check_schedule

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")


class Mine:
    name: ClassVar[str] = "mine"

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make

    def build(self, parameters: Any, lr: float, weight_decay: float) -> Any:
        return self.make(parameters, lr, weight_decay)

    def factor(self, step: int, steps: int) -> Any:
        return self.make(step, steps)


class Steps(optim.SGD):
    """Plain gradient descent with something wrong beside it."""

    def __init__(self, parameters: Any, lr: float, _weight_decay: float) -> None:
        super().__init__(parameters, lr=lr)
        self.taken = 0

    def parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        self.taken += 1
        for parameter in self.parameters():
            self.beside(parameter)

    def beside(self, parameter: nn.Parameter) -> None:
        raise NotImplementedError


class KeepsASet(Steps):
    def beside(self, parameter: nn.Parameter) -> None:
        self.state[parameter]["seen"] = {1, 2}


class KeepsAParameter(Steps):
    def beside(self, parameter: nn.Parameter) -> None:
        self.state[parameter]["itself"] = parameter.data


class CountsOutsideItsState(Steps):
    def beside(self, parameter: nn.Parameter) -> None:
        parameter.data.mul_(1 - 0.1 / self.taken)


class DrawsRandomNumbers(Steps):
    def beside(self, parameter: nn.Parameter) -> None:
        parameter.data.add_(torch.randn_like(parameter), alpha=0.01)


class Raises(Steps):
    def beside(self, parameter: nn.Parameter) -> None:  # noqa: ARG002
        raise RuntimeError("no\nway")


class StandsStill(optim.SGD):
    def __init__(self, parameters: Any, lr: float, _weight_decay: float) -> None:
        super().__init__(parameters, lr=lr)

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda *_: None, "builds a NoneType, but must return a torch.optim.Optimizer."),
        (lambda *_: nn.Linear(1, 1), "builds a Linear, but must return a torch.optim.Optimizer."),
        (lambda p, *_: optim.SGD(p[:1], lr=0.1), "builds an optimiser of other parameters"),
        (
            lambda *_: optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1),
            "builds an optimiser of other parameters",
        ),
        (lambda p: optim.SGD(p), "failed in build (TypeError: "),
        (lambda *_: exit(3), "failed in build (SystemExit: 3)."),
        (lambda p, *_: optim.Adam(p, betas=(2, 0)), "failed in build (ValueError: Invalid beta"),
        (lambda p, *_: optim.LBFGS(p), "has a `step` that needs the argument 'closure'"),
        (lambda p, *_: optim.SparseAdam(p), "failed in step (RuntimeError: SparseAdam does not"),
        (lambda p, *_: optim.Optimizer(p, {}), "without a learning rate `lr` in each parameter"),
        (lambda p, *_: optim.Optimizer(p, {"lr": None}), "without a learning rate `lr` in each"),
        (Raises, "failed in step (RuntimeError: no way)."),
        (StandsStill, "changes no parameter when it takes a step."),
        (lambda p, *_: optim.SGD(p, lr=0.0), "changes no parameter when it takes a step."),
        (KeepsASet, "cannot be stored in a checkpoint: its state has a set at `state.0.seen`."),
        (KeepsAParameter, "cannot be stored in a checkpoint (RuntimeError: Some tensors share"),
        (CountsOutsideItsState, "does not continue from a checkpoint as it would have gone on"),
        (DrawsRandomNumbers, "does not continue from a checkpoint as it would have gone on"),
    ],
)
def test_an_optimiser_that_cannot_be_used_is_refused_in_one_sentence(
    make: Callable[..., Any], told: str
) -> None:
    drawn = torch.get_rng_state()
    with pytest.raises(PluginError) as caught:
        check_optimiser(Mine(make), 0.0, CPU)
    message = str(caught.value)
    assert message.startswith("the optimiser 'mine' of the plugin ")
    assert told in message
    assert "\n" not in message
    assert message.endswith(".")
    assert torch.equal(torch.get_rng_state(), drawn)


class Nested(optim.Optimizer):
    """State of every kind that a checkpoint can hold, in the state and in a group."""

    def __init__(self, parameters: Any, lr: float, _weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "taken": 0, "decay": lambda taken: 1 / taken})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
        (group,) = self.param_groups
        group["taken"] += 1
        self.state["all"] = {"sum": [(group["taken"], None, torch.ones(2) * group["taken"])]}  # type: ignore[index]
        rate = group["lr"] * group["decay"](self.state["all"]["sum"][0][0])  # type: ignore[index]
        for parameter in group["params"]:
            state = self.state[parameter]
            state.setdefault("gradients", []).append(parameter.grad.clone())
            state["text"] = ("a", 1.5, True)
            parameter.add_(state["gradients"][0], alpha=-rate)


@pytest.mark.parametrize(
    "make",
    [
        Nested,
        lambda p, lr, _decay: optim.AdamW([{"params": [q], "lr": lr / len(p)} for q in p]),
        lambda p, lr, _decay: optim.Adam(p, lr=torch.tensor(lr), amsgrad=True, fused=False),
        *(
            lambda p, lr, decay, kind=kind: kind(p, lr=lr, weight_decay=decay)
            for kind in (optim.NAdam, optim.RMSprop, optim.Adagrad, optim.ASGD, optim.Adafactor)
        ),
        lambda p, *_: optim.Rprop(p),
    ],
)
def test_an_optimiser_of_any_state_continues_from_a_checkpoint(make: Callable[..., Any]) -> None:
    check_optimiser(Mine(make), 0.01, CPU)


drawn, calls = random.Random(0), count(1)


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (lambda *_: float("nan"), "gives nan at step 0 of 40, but must give a factor"),
        (lambda *_: float("inf"), "gives inf at step 0 of 40, but must give a factor"),
        (lambda step, _: 0.5 if step < 39 else -0.1, "gives -0.1 at step 39 of 40"),
        (lambda *_: 1.01, "gives 1.01 at step 0 of 40, but must give a factor"),
        (lambda *_: None, "failed in factor(0, 40) (TypeError: "),
        (lambda *_: "fast", "failed in factor(0, 40) (ValueError: "),
        (lambda step: step, "failed in factor(0, 40) (TypeError: "),
        (lambda step, _: 1 / (step - 20), "gives -0.05 at step 0 of 40"),
        (lambda step, _: 1 / max(0, 20 - step), "failed in factor(20, 40) (ZeroDivisionError: "),
        (lambda *_: drawn.random(), "when it is asked again: the factor must depend on step and"),
        (lambda *_: 1 / next(calls), "when it is asked again: the factor must depend on step and"),
        (lambda *_: 0, "gives 0 at every step of 40: nothing would learn."),
    ],
)
def test_a_schedule_that_cannot_be_used_is_refused_in_one_sentence(
    factor: Callable[..., Any], told: str
) -> None:
    with pytest.raises(PluginError) as caught:
        check_schedule(Mine(factor), 40)
    message = str(caught.value)
    assert message.startswith("the lr-schedule 'mine' of the plugin ")
    assert told in message
    assert message.endswith(".")


@pytest.mark.parametrize("number", [1, np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_a_factor_may_be_any_number(number: Any) -> None:
    check_schedule(Mine(lambda *_: number), 40)


def test_a_schedule_is_asked_for_steps_that_exist_and_not_for_all_of_a_long_training() -> None:
    asked: list[int] = []

    def factor(step: int, steps: int) -> float:
        asked.append(step)
        return 1 - step / steps

    check_schedule(Mine(factor), 10**7)
    assert (min(asked), len(asked)) == (0, 2 * 10_000)
    assert max(asked) < 10**7
