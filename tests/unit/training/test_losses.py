"""Losses in the training loop: their context, their faults, and whole batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pbkd.core.blocks import Block
from pbkd.core.schedule import Job, Schedule, check_schedule
from pbkd.errors import ConfigError, PluginError, ScheduleError
from pbkd.models.metrics import ModuleSize
from pbkd.models.proposal import Proposal
from pbkd.pipeline.loss_checks import drop_without_features, try_on_blocks
from pbkd.planning.profiling import measure_costs
from pbkd.protocols import LossContext
from pbkd.training.applied_loss import AppliedLoss, apply_to_blocks
from pbkd.training.distill import train_block, train_job
from pbkd.training.failures import OUT_OF_MEMORY
from pbkd.training.feeds import Lesson, recompute, relay
from pbkd.training.learner import BlockMethod, Learner, new_learner
from pbkd.training.losses import create_loss
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbkd.plugin.registry import Registry
    from pbkd.protocols import Loss


@dataclass
class _Sees:
    """A loss of features alone, which remembers its contexts."""

    name: ClassVar[str] = "sees"
    features: tuple[str, ...] = ("0",)
    seen: list[LossContext] = field(default_factory=list)

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        self.seen.append(context)
        apart = [context.features[n] - context.teacher_features[n] for n in self.features]
        return torch.stack([a.square().mean() for a in apart]).sum() + 0 * (output - target).sum()


@dataclass(frozen=True)
class _Whole:
    """A loss between rows."""

    name: ClassVar[str] = "whole"
    additive: ClassVar[bool] = False

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        return (torch.pdist(output) - torch.pdist(target)).square().mean()


def _chain() -> nn.Sequential:
    torch.manual_seed(0)
    chain = nn.Sequential()
    for index, (inputs, outputs) in enumerate([(4, 5), (5, 6), (6, 7)]):
        chain.add_module(
            f"block{index}", nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(inplace=True))
        )
    return chain.requires_grad_(False).eval()


def _learner(inputs: int, outputs: int, *more: nn.Module) -> Learner:
    torch.manual_seed(1)
    replacement = nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(inplace=True), *more)
    return new_learner(replacement, optimisation(0.01), steps=6)


FEEDS: dict[str, Callable[..., object]] = {
    "recompute": recompute,
    "relay": lambda chain, blocks, batches, **options: relay(
        chain, blocks, [(x, x) for x in batches], lambda _pair: None, **options
    ),
}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("student_fed", [False, True])
def test_a_loss_sees_what_its_modules_give(feed: str, student_fed: bool) -> None:
    chain, loss, x = _chain(), _Sees(), torch.rand(8, 4)
    learners = {"block0": _learner(4, 5), "block1": _learner(5, 6)}
    first, second = (block.replacement for block in learners.values())
    layers = [network.get_submodule("0") for network in (first, chain[0], second, chain[1])]
    inside = chain[0](x)
    student = first(x) if student_fed else inside
    expected = [
        (x, layers[0](x), layers[1](x)),
        (student, layers[2](student), layers[3](inside)),
    ]
    expected = [tuple(tensor.clone() for tensor in one) for one in expected]
    lessons = FEEDS[feed](chain, learners, [x], student_fed=student_fed)
    train_job(learners, [lessons], apply_to_blocks(loss, chain))  # type: ignore[list-item]
    assert [(seen.block, seen.index, seen.epoch) for seen in loss.seen] == [
        ("block0", 0, 0),
        ("block1", 1, 0),
    ]
    for seen, (given, mine, theirs) in zip(loss.seen, expected, strict=True):
        torch.testing.assert_close(seen.input, given)
        torch.testing.assert_close(seen.features["0"], mine)
        torch.testing.assert_close(seen.teacher_features["0"], theirs)
        assert seen.labels is None


def test_features_train_the_modules_before_them_in_micro_batches_too() -> None:
    chain, x = _chain(), torch.rand(10, 4)
    lesson = Lesson("block0", x, chain[0](x), x)
    gradients = []
    for micro_batches in (1, 3):
        own = _learner(4, 5)
        own.micro_batches = micro_batches
        train_block(own, lesson, apply_to_blocks(_Sees(), chain)["block0"])
        gradients.append(own.replacement.get_parameter("0.weight").grad)
    assert gradients[0] is not None
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_a_block_without_the_feature_fails_alone() -> None:
    chain, learners = _chain(), {"block0": _learner(4, 5), "block1": _learner(5, 6, nn.Identity())}
    lessons = recompute(chain, learners, [torch.rand(8, 4)])
    losses = apply_to_blocks(_Sees(("0",)), chain) | {
        "block1": AppliedLoss(_Sees(("2",)), "block1", 1, chain[1])
    }
    train_job(learners, [lessons], losses)
    assert learners["block0"].failure is None
    assert learners["block1"].failure == (
        "its training failed (the teacher's segment has no module '2'. Known: 0, 1)"
    )


def test_planning_keeps_the_block_that_a_loss_cannot_see_into() -> None:
    chain = _chain()
    proposals = {
        name: Proposal(
            block=Block(name, index, (sizes[0],), (sizes[1],)),
            replacement=nn.Linear(*sizes) if index else _learner(*sizes).replacement,
            reason=None,
            before=ModuleSize(parameters=9, bytes=36, macs=9),
            after=ModuleSize(parameters=3, bytes=12, macs=3),
            builder={"name": "mine"},
            seconds=1.0,
        )
        for index, (name, sizes) in enumerate({"block0": (4, 5), "block1": (5, 6)}.items())
    }
    assert drop_without_features(proposals, _Whole(), chain) == proposals
    first, second = drop_without_features(proposals, _Sees(), chain).values()
    assert first.replacement is not None
    assert (second.replacement, second.after.macs) == (None, 9)
    assert second.reason == (
        "the loss 'sees' looks inside, but the replacement has no module '0'. Known: none"
    )


def _method(loss: Loss, chain: nn.Sequential) -> BlockMethod:
    return BlockMethod(apply_to_blocks(loss, chain), optimisation(0.001))


class _Faulty:
    name: ClassVar[str] = "faulty"

    def __init__(self, how: str) -> None:
        self.how = how

    def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
        if self.how == "raise":
            raise ValueError("no such luck")
        if self.how == "exit":
            raise SystemExit(3)
        if self.how == "input":
            context.input.mul_(2)
        if self.how == "sum":
            return (output - target).square().sum()
        if self.how == "nan":
            return (output - target).square().mean() * float("nan")
        return (output - target).square()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("raise", r"failed in error \(ValueError: no such luck\)"),
        ("exit", r"failed in error \(SystemExit: 3\)"),
        ("input", "is faulty: error changes an argument in place"),
        ("sum", "is faulty: the error of a batch is not the mean of its halves' errors"),
        ("nan", "is faulty: it is nan for finite activations"),
        ("vector", r"is faulty: error returns a tensor of shape \(8, 5\), not \(\)"),
    ],
)
def test_planning_names_the_loss_that_is_faulty(how: str, told: str) -> None:
    chain = _chain()
    start = "block 'block0' cannot be trained, since the loss 'faulty' of the plugin '[^']*' "
    with pytest.raises(PluginError, match=start + told):
        losses = apply_to_blocks(_Faulty(how), chain)
        try_on_blocks(losses, chain, {"block0": _learner(4, 5).replacement}, torch.rand(8, 4))


def test_planning_takes_a_loss_of_features_alone() -> None:
    class Inside(_Sees):
        def error(self, output: Tensor, target: Tensor, context: LossContext) -> Tensor:
            assert output.shape == target.shape
            return (context.features["0"] - context.teacher_features["0"]).square().mean()

    chain, replacements = _chain(), {"block0": _learner(4, 5).replacement}
    try_on_blocks(apply_to_blocks(Inside(), chain), chain, replacements, torch.rand(8, 4))


def test_a_loss_that_fails_in_training_fails_the_block_by_name() -> None:
    chain, learners = _chain(), {"block0": _learner(4, 5)}
    lessons = recompute(chain, learners, [torch.rand(8, 4)])
    train_job(learners, [lessons], apply_to_blocks(_Faulty("raise"), chain))
    failure = str(learners["block0"].failure)
    assert failure.startswith("its training failed (the loss 'faulty' of the plugin '")
    assert failure.endswith("failed in error (ValueError: no such luck))")


def _schedule(workers: int) -> Schedule:
    return Schedule(((Job(("block0",)),),) * workers, feed="relay")


@pytest.mark.parametrize(("loss", "most"), [(_Whole(), 1), (_Sees(), 8)])
def test_workers_share_the_batches_of_additive_losses_only(loss: Loss, most: int) -> None:
    chain = _chain()
    replacements = {"block0": _learner(4, 5).replacement}
    costs = measure_costs(chain, replacements, torch.rand(8, 4), _method(loss, chain))
    assert [cost.rows for cost in costs.blocks] == [most]
    check_schedule(_schedule(most), costs.blocks, most)
    told = f"lets {most + 1} workers share the batches of block0, but at most {most} can"
    with pytest.raises(ScheduleError, match=told):
        check_schedule(_schedule(most + 1), costs.blocks, most + 1)


def test_a_loss_between_rows_never_gets_micro_batches() -> None:
    chain, x = _chain(), torch.rand(10, 4)
    lesson, loss = Lesson("block0", x, chain[0](x), x), AppliedLoss(_Whole())
    values = []
    for micro_batches in (1, 4):
        own = _learner(4, 5)
        own.micro_batches = micro_batches
        values.append(train_block(own, lesson, loss)[1])
    assert torch.equal(*values)


def test_a_block_of_whole_batches_that_runs_out_of_memory_says_what_helps() -> None:
    class Hungry(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
            raise torch.OutOfMemoryError("CUDA out of memory")

    failures = []
    for loss in (_Whole(), _Sees(())):
        learners = {"block0": new_learner(Hungry(4, 5), optimisation(0.01), steps=1)}
        lessons = recompute(_chain(), learners, [torch.rand(8, 4)])
        train_job(learners, [lessons], {"block0": AppliedLoss(loss)})
        failures.append(learners["block0"].failure)
    told = f"{OUT_OF_MEMORY}, and its loss 'whole' needs whole batches: lower batch_size"
    assert failures == [told, OUT_OF_MEMORY]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"power": "two"}, "'distill.loss.power': Value 'two'"),
        ({"powr": 2}, "unknown option 'distill.loss.powr'. Did you mean 'power'"),
        ({"power": 0}, "the loss 'attention-transfer' rejects its options: .* power at least 1"),
    ],
)
def test_an_option_that_is_wrong(registry: Registry, options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        create_loss(registry, {"name": "attention-transfer", **options})
