"""The proposals of a run: calibration, chosen options, and what could not be loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from pbkd import Block, Built, dense_convolutions
from pbkd.core.process import thread_count
from pbkd.errors import PluginError
from pbkd.models import calibration as calibrations
from pbkd.models.asked_builders import ask_builders
from pbkd.models.calibration import block_inputs, sample_count
from pbkd.pipeline.proposals import check_proposals, propose_all

if TYPE_CHECKING:
    from pbkd.models.proposal import Proposal
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

KEEP = ["stem*", "head*", "conv1*", "conv2*"]
SEEN: list[Tensor | None] = []


def replaced(segment: nn.Module, rank: int) -> nn.Module:
    """Replace the convolution of a segment by two with `rank` channels between them."""
    ((name, conv),) = dense_convolutions(nn.Sequential(segment))
    parts = [
        nn.Sequential(
            nn.Conv2d(conv.in_channels, rank, 1),
            nn.Conv2d(rank, conv.out_channels, 1, stride=conv.stride[0]),
        )
        if f"0.{child}" == name
        else nn.Identity()
        for child, _ in segment.named_children()
    ]
    return nn.Sequential(*parts)


@dataclass(frozen=True)
class Activity:
    """Chooses its rank by the calibration."""

    name: ClassVar[str] = "activity"
    share: float = 0.5
    rank: int | None = None
    states: dict[str, Any] = field(default_factory=dict)

    def build(
        self,
        segment: nn.Module,
        block: Block,  # noqa: ARG002
        calibration: Tensor | None = None,
    ) -> nn.Module | Built:
        SEEN.append(calibration)
        rank = self.rank
        if rank is None:
            if calibration is None:
                raise ValueError("no calibration")
            rank = 1 + int(self.share * (calibration.mean((0, 2, 3)) > 0.1).sum())
        return Built(replaced(segment, rank), {"rank": rank, **self.states})


@dataclass(frozen=True)
class Silent(Activity):
    """Does not state what it chose."""

    name: ClassVar[str] = "silent"

    def build(
        self, segment: nn.Module, block: Block, calibration: Tensor | None = None
    ) -> nn.Module:
        built = super().build(segment, block, calibration)
        assert isinstance(built, Built)
        return built.module


@dataclass(frozen=True)
class Vandal(Activity):
    """Changes the calibration in place, in a way that leaves its version alone."""

    name: ClassVar[str] = "vandal"

    def build(
        self, segment: nn.Module, block: Block, calibration: Tensor | None = None
    ) -> nn.Module | Built:
        if calibration is not None:
            calibration.numpy()[0] = 0
        return super().build(segment, block, calibration)


@pytest.fixture
def propose(monkeypatch: pytest.MonkeyPatch, registry: Registry, digits: DistillationTask) -> Any:
    for cls in (Activity, Silent, Vandal):
        monkeypatch.setitem(registry.strategies["builder"], cls.name, cls)

    def call(*choices: dict[str, Any], seed: int = 0, recorded: Any = None) -> dict[str, Proposal]:
        SEEN.clear()
        builders = ask_builders(registry, choices[0], choices[1:])
        proposals = propose_all(registry, builders, digits, KEEP, seed, recorded or {})
        return check_proposals(registry, digits, proposals)

    return call


def test_the_chosen_options_follow_the_configured_ones(propose: Any) -> None:
    found = propose({"name": "activity", "share": 0.75}, {"name": "activity", "share": 0.25})
    assert list(found) == ["conv3_1", "conv3_1.1", "conv3_2", "conv3_2.1"]
    ranks = {name: proposal.builder["rank"] for name, proposal in found.items()}
    assert ranks["conv3_1"] > ranks["conv3_1.1"] > 1
    chosen = {"name": "activity", "share": 0.75, "rank": ranks["conv3_1"]}
    assert found["conv3_1"].builder == chosen


def test_calibration_is_the_teachers_activations_whatever_the_threads(
    propose: Any, digits: DistillationTask
) -> None:
    seen = []
    for threads in (1, 3):
        with thread_count(threads):
            propose({"name": "activity"})
        seen.append([tensor for tensor in SEEN if tensor is not None])
    one, other = seen
    assert [tensor.shape for tensor in one] == [(256, 64, 2, 2), (256, 128, 2, 2)]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.allclose(digits.chain.conv3_1(one[0]), one[1], atol=1e-4)  # type: ignore[operator]
    assert not torch.equal(one[0][0], one[0][1])
    propose({"name": "activity"}, seed=1)
    assert SEEN[0] is not None
    assert not torch.equal(SEEN[0], one[0])


def test_it_is_computed_only_where_a_builder_takes_it(
    propose: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        pytest.fail("calibration was computed")

    monkeypatch.setattr("pbkd.models.calibration.block_inputs", fail)
    assert propose({"name": "low-rank"})["conv3_1"].replacement is not None


def test_few_large_inputs_are_taken_a_part_at_a_time(
    digits: DistillationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = 4 * 32 * 8 * 8
    monkeypatch.setattr(calibrations, "_MAX_BYTES", 20 * largest)
    assert sample_count(digits.chain, digits.images[:1]) == 20
    monkeypatch.setattr(calibrations, "_MAX_BYTES", 1)
    assert sample_count(digits.chain, digits.images[:1]) == 1
    assert list(block_inputs(digits.chain, digits.images, [])) == []


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"name": "silent"}, "built from other weights it is not built at all .*no calibration"),
        ({"name": "activity", "states": {"rnak": 3}}, "options that it does not take itself: unk"),
        ({"name": "activity", "states": {"rank": "many"}}, "options that it does not take itself"),
        ({"name": "activity", "states": {"rank": 2}}, "it has tensors of other names or shapes"),
        ({"name": "vandal"}, "changes the calibration: it must work on a copy"),
    ],
    ids=str,
)
def test_a_mistake_of_the_builder_ends_planning(
    propose: Any, choice: dict[str, Any], told: str
) -> None:
    with pytest.raises(PluginError, match=f" of the plugin .*'conv3_1' .*{told}") as caught:
        propose(choice)
    assert f"the builder '{choice['name']}' of" in str(caught.value)


def test_a_resumed_run_takes_the_options_that_were_chosen_before(propose: Any) -> None:
    recorded = {"conv3_1": {"name": "activity", "rank": 5}, "conv3_2": {"name": "other"}}
    found = propose({"name": "activity", "share": 0.75}, recorded=recorded)
    assert found["conv3_1"].builder == {"name": "activity", "rank": 5}
    assert found["conv3_2"].builder["rank"] > 5
