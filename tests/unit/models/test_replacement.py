from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import nn

from pbkd.core.blocks import Block
from pbkd.core.process import thread_count
from pbkd.errors import PluginError, one_line
from pbkd.models.asked_builders import AskedBuilder, ask_builders
from pbkd.models.chain import describe_blocks, freeze
from pbkd.models.proposal import propose
from pbkd.models.replacement import build_replacement, is_kept

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask

BLOCK = Block("conv", 1, (8, 6, 6), (16, 6, 6))

OWN = f"the plugin '{__name__}'"


class _Builder:
    """Builds whatever it is told to."""

    name: ClassVar[str] = "mine"

    def __init__(self, replacement: nn.Module | BaseException | None) -> None:
        self.replacement = replacement

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        if isinstance(self.replacement, BaseException):
            raise self.replacement
        return self.replacement


class _Random:
    name: ClassVar[str] = "random"

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:  # noqa: ARG002
        return nn.Conv2d(8, 16, 1)


def asked(builder: Any) -> AskedBuilder:
    return AskedBuilder({"name": builder.name}, builder)


def _segment() -> nn.Module:
    return freeze(nn.Conv2d(8, 16, 3, padding=1))


def test_patterns_of_kept_segments() -> None:
    assert is_kept("stem", ["stem*", "head*"])
    assert is_kept("head2", ["stem*", "head*"])
    assert not is_kept("layer1_0", ["stem*", "head*"])
    assert is_kept("layer1_0", ["layer1_*"])


def test_random_weights_depend_on_seed_and_block_name_alone() -> None:
    other = Block("other", 1, (8, 6, 6), (16, 6, 6))

    def weight(block: Block, seed: int) -> torch.Tensor:
        built = build_replacement(_Random(), _segment(), block, seed)
        assert built is not None
        return built.module.get_parameter("weight")

    first = weight(BLOCK, 0)
    torch.manual_seed(99)
    assert torch.equal(weight(BLOCK, 0), first)
    assert not torch.equal(weight(BLOCK, 1), first)
    assert not torch.equal(weight(other, 0), first)


def test_building_leaves_the_callers_random_numbers_alone() -> None:
    segment = _segment()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_replacement(_Random(), segment, BLOCK, 0)
    assert torch.equal(torch.rand(4), expected)


def test_a_cheaper_replacement_is_weighed_against_its_block() -> None:
    proposal = propose(asked(_Random()), _segment(), BLOCK, 0)
    assert proposal.replacement is not None
    assert proposal.reason is None
    assert (proposal.before.parameters, proposal.after.parameters) == (8 * 16 * 9 + 16, 8 * 16 + 16)
    assert (proposal.before.macs, proposal.after.macs) == (36 * 8 * 16 * 9, 36 * 8 * 16)
    assert all(p.requires_grad for p in proposal.replacement.parameters())


def test_a_replacement_with_more_macs_is_not_used_and_the_reason_says_so() -> None:
    proposal = propose(asked(_Builder(nn.Conv2d(8, 16, 5, padding=2))), _segment(), BLOCK, 0)
    assert proposal.replacement is None
    assert proposal.reason == (
        f"its replacement would need more MACs ({36 * 8 * 16 * 25:,} against {36 * 8 * 16 * 9:,})"
    )
    assert proposal.after.macs == proposal.before.macs


def test_one_that_costs_as_much_is_not_used() -> None:
    assert propose(asked(_Builder(nn.Conv2d(8, 16, 3, padding=1))), _segment(), BLOCK, 0).reason


def test_as_many_macs_in_fewer_bits_are_cheaper() -> None:
    rounded = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1))
    rounded.stored_bits = {"0.weight": 4}  # type: ignore[assignment]
    proposal = propose(asked(_Builder(rounded)), _segment(), BLOCK, 0)
    assert proposal.replacement is rounded
    assert (proposal.before.bytes, proposal.after.bytes) == (4 * (1152 + 16), 1152 // 2 + 4 * 16)


def test_a_builder_may_decline() -> None:
    proposal = propose(asked(_Builder(None)), _segment(), BLOCK, 0)
    assert proposal.replacement is None
    assert proposal.reason == "'mine' finds nothing to replace"


def test_a_wrong_output_shape_names_builder_and_block() -> None:
    with pytest.raises(PluginError, match=r"'mine' .*'conv'.*\(16, 4, 4\).*\(16, 6, 6\)"):
        build_replacement(_Builder(nn.Conv2d(8, 16, 3)), _segment(), BLOCK, 0)


class _Changes(_Random):
    """Replaces the teacher's own convolution, not a copy's."""

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:
        segment.get_parameter("weight").data.zero_()
        return super().build(segment, block)


@pytest.mark.parametrize(
    ("builder", "told"),
    [
        (_Builder("a network"), "a replacement that is a str, not a torch module."),  # type: ignore[arg-type]
        (_Builder(nn.LSTM(6, 6)), "failed in build on block 'conv' ("),
        (_Builder(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(8, 16, 1))), "input in place"),
        (_Changes(), "changes the teacher's segment 'conv' in build: it must work"),
    ],
    ids=["no module", "other input", "in place", "vandal"],
)
def test_a_builder_that_breaks_its_contract_is_named_with_its_block(
    builder: _Builder | _Random, told: str
) -> None:
    with pytest.raises(PluginError, match=f"'{builder.name}' of {OWN} .*'conv'") as caught:
        build_replacement(builder, _segment(), BLOCK, 0)
    assert told in str(caught.value)


def test_a_replacement_that_is_the_teachers_own_is_refused() -> None:
    segment = _segment()
    with pytest.raises(PluginError, match="shares a tensor with the teacher's segment"):
        build_replacement(_Builder(nn.Sequential(segment)), segment, BLOCK, 0)
    assert not any(p.requires_grad for p in segment.parameters())


@pytest.mark.parametrize("error", [SystemExit(3), RuntimeError("no\nidea")])
def test_a_builder_that_raises_is_named_with_its_block(error: BaseException) -> None:
    told = rf"the builder 'mine' of {OWN} failed in build on block 'conv' \({one_line(error)}\)\."
    with pytest.raises(PluginError, match=told):
        build_replacement(_Builder(error), _segment(), BLOCK, 0)


def test_first_weights_do_not_depend_on_the_hosts_threads(
    registry: Registry, digits: DistillationTask
) -> None:
    (builder,) = ask_builders(registry, {"name": "low-rank"})
    (block,) = describe_blocks(digits.chain, digits.images[:1], ["conv3_2"])
    found = []
    for threads in (1, 2, 4):
        with thread_count(threads):
            built = build_replacement(builder, digits.chain[block.position], block, seed=0)
        assert built is not None
        found.append(built.module.state_dict())
    for other in found:
        assert all(torch.equal(tensor, other[name]) for name, tensor in found[0].items())
