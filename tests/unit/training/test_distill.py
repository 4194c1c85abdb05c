from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from pbkd_lr_schedules import Cosine
from pbkd_squared_error import RelativeSquaredError, SquaredError
from torch import Tensor, nn

from pbkd.training.applied_loss import AppliedLoss
from pbkd.training.distill import train_block, train_job
from pbkd.training.feeds import Lesson, recompute
from pbkd.training.learner import Learner, new_learner
from pbkd.training.optimisation import schedule_rate
from tests.optimisations import optimisation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


mse = AppliedLoss(SquaredError())


def _chain() -> nn.Sequential:
    torch.manual_seed(0)
    chain = nn.Sequential()
    for index, (inputs, outputs) in enumerate([(4, 5), (5, 6), (6, 7), (7, 3)]):
        chain.add_module(f"block{index}", nn.Sequential(nn.Linear(inputs, outputs), nn.Tanh()))
    return chain.requires_grad_(False).eval()


def _replacement(seed: int, inputs: int, outputs: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs)


def _epochs(epochs: int = 2, steps: int = 3) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        yield [torch.rand(8, 4, generator=generator) for _ in range(steps)]


def _learners(names: list[str]) -> dict[str, Learner]:
    sizes = {"block0": (4, 5), "block1": (5, 6), "block2": (6, 7), "block3": (7, 3)}
    return {
        name: new_learner(_replacement(int(name[-1]), *sizes[name]), optimisation(0.01), steps=6)
        for name in names
    }


def test_a_batch_in_pieces_gives_the_gradients_of_the_whole() -> None:
    x, target = torch.rand(10, 4), torch.rand(10, 5)
    outcomes = []
    for micro_batches in (1, 3, 99):
        own = new_learner(_replacement(0, 4, 5), optimisation(0.0), steps=6)
        own.micro_batches = micro_batches
        output, value = train_block(
            own, Lesson("", x, target, x), AppliedLoss(RelativeSquaredError())
        )
        gradients = [p.grad for p in own.replacement.parameters() if p.grad is not None]
        outcomes.append((output, value, torch.cat([g.flatten() for g in gradients])))
    for found in outcomes[1:]:
        for one, other in zip(outcomes[0], found, strict=True):
            torch.testing.assert_close(one, other)


def _train(
    chain: nn.Sequential,
    learners: dict[str, Learner],
    epochs: Iterable[Iterable[Tensor]],
    loss: AppliedLoss,
    *,
    student_fed: bool = False,
    epoch_finished: Callable[[str, float], None] = lambda _name, _loss: None,
) -> None:
    lessons = (recompute(chain, learners, batches, student_fed=student_fed) for batches in epochs)
    losses = dict.fromkeys(learners, loss)
    train_job(learners, lessons, losses, epoch_finished=epoch_finished)


def _weights(learners: dict[str, Learner]) -> dict[str, Tensor]:
    return {name: t.replacement.get_parameter("weight") for name, t in learners.items()}


def test_a_block_trained_with_others_gets_the_weights_it_gets_alone() -> None:
    together = _learners(["block0", "block1", "block3"])
    _train(_chain(), together, _epochs(), mse)
    for name in together:
        alone = _learners([name])
        _train(_chain(), alone, _epochs(), mse)
        assert torch.equal(_weights(alone)[name], _weights(together)[name])
        assert alone[name].losses == together[name].losses


def test_teacher_fed_training_is_gradient_descent_on_the_teachers_input_and_output() -> None:
    chain, trained = _chain(), _learners(["block1"])
    expected = copy.deepcopy(trained["block1"].replacement)
    optimiser = torch.optim.AdamW(expected.parameters(), lr=0.01, weight_decay=0)
    rate = schedule_rate(optimiser, Cosine(), 6)
    losses = []
    for batch in (b for batches in _epochs() for b in batches):
        x = chain[0](batch)
        loss = nn.functional.mse_loss(expected(x), chain[1](x))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        rate.step()
        losses.append(loss.item())
    _train(chain, trained, _epochs(), mse)
    # The fused optimiser rounds differently from the plain one used here.
    torch.testing.assert_close(_weights(trained)["block1"], expected.weight, rtol=1e-5, atol=1e-6)
    assert trained["block1"].losses == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_student_fed_inputs_come_from_the_replacements_before_any_update() -> None:
    chain, trained = _chain(), _learners(["block0", "block2"])
    batch = torch.rand(8, 4)
    first = trained["block0"].replacement(batch).detach()
    x_student = chain[1](first)
    target = chain[:3](batch)
    expected = mse(trained["block2"].replacement(x_student), target).item()
    _train(chain, trained, [[batch]], mse, student_fed=True)
    assert trained["block2"].losses == [expected]


def test_student_fed_blocks_get_no_gradient_from_later_ones() -> None:
    alone, both = _learners(["block0"]), _learners(["block0", "block1"])
    _train(_chain(), alone, _epochs(), mse, student_fed=True)
    _train(_chain(), both, _epochs(), mse, student_fed=True)
    assert torch.equal(_weights(alone)["block0"], _weights(both)["block0"])


def test_the_teacher_runs_no_further_than_the_last_block() -> None:
    class Untouchable(nn.Module):
        def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
            raise AssertionError("the teacher was run past the job's last block")

    chain = _chain()
    chain[3] = Untouchable()
    trained = _learners(["block1", "block2"])
    _train(chain, trained, _epochs(), mse)
    assert len(trained["block2"].losses) == 2


def test_the_teacher_runs_once_per_batch_for_all_blocks_of_a_job() -> None:
    chain, calls = _chain(), []
    chain[0].register_forward_hook(lambda *_: calls.append(1))
    _train(chain, _learners(["block0", "block1", "block2", "block3"]), _epochs(2, 3), mse)
    assert len(calls) == 6


def test_the_teacher_is_not_changed() -> None:
    chain = _chain()
    before = copy.deepcopy(chain.state_dict())
    _train(chain, _learners(["block0", "block3"]), _epochs(), mse, student_fed=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in chain.state_dict().items())


def test_every_epoch_of_every_block_is_told_of() -> None:
    told: list[tuple[str, float]] = []
    trained = _learners(["block0", "block1"])
    _train(_chain(), trained, _epochs(), mse, epoch_finished=lambda n, loss: told.append((n, loss)))
    assert [name for name, _ in told] == ["block0", "block1"] * 2
    assert [loss for name, loss in told if name == "block1"] == trained["block1"].losses


def test_training_lowers_the_loss() -> None:
    trained = _learners(["block0", "block1", "block2"])
    for block in trained.values():
        block.rate = torch.optim.lr_scheduler.ConstantLR(block.optimiser, 1.0)
    _train(_chain(), trained, _epochs(30, 10), mse)
    assert all(block.losses[-1] < 0.2 * block.losses[0] for block in trained.values())
