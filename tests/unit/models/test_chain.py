from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import ChainError
from pbkd.models.chain import check_chain, describe_blocks, freeze, fuse_batchnorm


def _teacher() -> nn.Sequential:
    torch.manual_seed(0)
    teacher = nn.Sequential()
    teacher.add_module(
        "one", nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    )
    teacher.add_module("two", nn.Sequential(nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8)))
    teacher.add_module("head", nn.Flatten())
    for module in teacher.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_mean").uniform_()
            module.get_buffer("running_var").uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
    freeze(teacher)
    return teacher


IMAGES = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


class _Shortcut(nn.Module):
    """A residual block: its output is used twice, and its ReLU works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.norm(self.convolution(x)) + x)
        return result


def test_a_chain_of_the_teachers_segments_passes() -> None:
    teacher = _teacher()
    check_chain(teacher, nn.Sequential(*teacher), IMAGES)


def test_a_skipped_segment_is_an_error() -> None:
    teacher = _teacher()
    with pytest.raises(ChainError, match="instead|gives"):
        check_chain(teacher, nn.Sequential(teacher[0], teacher[2]), IMAGES)


def test_a_slightly_different_function_is_an_error() -> None:
    teacher = _teacher()
    other = copy.deepcopy(teacher)
    other.get_parameter("two.0.bias").data[0] += 0.01
    with pytest.raises(ChainError, match="differs from the teacher's"):
        check_chain(teacher, other, IMAGES)


def test_nan_is_not_equal_to_anything() -> None:
    teacher = _teacher()
    other = copy.deepcopy(teacher)
    other.get_parameter("two.1.weight").data.fill_(float("nan"))
    with pytest.raises(ChainError, match="differs"):
        check_chain(teacher, other, IMAGES)


def test_a_segment_that_changes_its_input_in_place_is_named() -> None:
    teacher = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)).eval()
    chain = nn.Sequential()
    chain.add_module("conv", teacher[0])
    chain.add_module("relu", teacher[1])
    with pytest.raises(ChainError, match="'relu' changes its input in place"):
        check_chain(teacher, chain, IMAGES)


def test_a_segment_of_two_outputs_is_named() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    chain = nn.Sequential()
    chain.add_module("fork", Two())
    with pytest.raises(ChainError, match="'fork' gives tuple"):
        check_chain(nn.Identity(), chain, IMAGES)


@pytest.mark.parametrize("name", ["../one", "a\\b", "a\nb", "/etc/passwd"])
def test_a_segment_name_that_cannot_be_part_of_a_files_name_is_refused(name: str) -> None:
    teacher = _teacher()
    chain = nn.Sequential()
    # Not add_module, which refuses less and other names.
    chain._modules.update(zip((name, "two", "head"), teacher, strict=True))
    with pytest.raises(ChainError) as caught:
        check_chain(teacher, chain, IMAGES)
    assert str(caught.value) == f"the segment name {name!r} cannot be part of a file's name."


def test_blocks_have_the_shapes_of_one_sample() -> None:
    one, two = describe_blocks(_teacher(), IMAGES[:1], ["one", "two"])
    assert (one.position, one.input_shape, one.output_shape) == (0, (3, 9, 9), (8, 9, 9))
    assert (two.position, two.input_shape, two.output_shape) == (1, (8, 9, 9), (8, 4, 4))


def test_folding_removes_batchnorm_and_keeps_the_function() -> None:
    teacher = _teacher()
    fused = fuse_batchnorm(teacher, IMAGES)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    # Folding multiplies weights beforehand instead of activations afterwards: rounding differs.
    torch.testing.assert_close(fused(IMAGES), teacher(IMAGES), rtol=1e-4, atol=1e-5)
    assert [name for name, _ in fused.named_children()] == ["one", "two", "head"]


def test_folding_leaves_the_teacher_alone() -> None:
    teacher = _teacher()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    fused = fuse_batchnorm(teacher, IMAGES)
    for parameter in fused.parameters():
        parameter.data.zero_()
    assert all(torch.equal(teacher.state_dict()[name], t) for name, t in before.items())


def test_folding_a_shortcut_keeps_both_branches() -> None:
    segment = nn.Sequential(_Shortcut())
    freeze(segment)
    x = torch.rand(2, 8, 5, 5)
    torch.testing.assert_close(fuse_batchnorm(segment, x)(x), segment(x), rtol=1e-4, atol=1e-5)


def test_a_segment_that_cannot_be_traced_is_copied_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.norm(x) if x.sum() > 0 else x
            return result

    segment = nn.Sequential(Branching())
    freeze(segment)
    fused = fuse_batchnorm(segment, IMAGES)
    assert isinstance(fused[0], Branching)
    assert fused[0] is not segment[0]
    assert torch.equal(fused(IMAGES), segment(IMAGES))
