"""Conformance tests of builders."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.config.options import option_types, typed_options
from pbkd.errors import ConfigError
from pbkd.models.calibration import takes_calibration
from pbkd.models.chain import describe_blocks, freeze
from pbkd.models.rebuilding import CURE, rebuilding_fault
from pbkd.models.replacement import options_fault
from pbkd.models.weights import fingerprint
from pbkd.protocols import Built
from pbkd.testing.tiny import tiny_segment, tiny_stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.core.blocks import Block
    from pbkd.protocols import BlockBuilder

__all__ = ["check_builder"]


def _geometries() -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Return various segments, each with the shape of one input sample."""
    return [
        (tiny_segment(), (8, 6, 6)),
        (tiny_segment(), (8, 7, 5)),
        (tiny_stage(), (8, 6, 6)),
        (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()), (8, 6, 6)),
        (nn.Sequential(nn.Conv2d(8, 12, 5, bias=False), nn.ReLU()), (8, 9, 9)),
        (nn.Sequential(nn.Conv2d(8, 16, 3, padding=2, dilation=2), nn.ReLU()), (8, 6, 6)),
        (nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU()), (8, 6, 6)),
        (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU()), (8, 6, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(32, 10)), (8, 2, 2)),
    ]


def check_builder(
    builder: BlockBuilder,
    segment: nn.Module | None = None,
    input_shape: tuple[int, ...] = (8, 6, 6),
) -> None:
    """Check that a builder's replacements fit their segments and can be trained.

    A replacement must have the segment's output shape, be trainable and picklable, share no tensor
    with the teacher, and have equal weights for equal seeds. Built again without calibration and
    from other weights, by a builder with the options that `Built` states, it must have the same
    shapes. Segment and calibration must stay unchanged.

    Args:
        builder: The builder.
        segment: A segment that must get a replacement. Without one, segments with several kernel
            sizes, strides, dilations and groups are tested, at least one of which must get a
            replacement.
        input_shape: Shape of one input sample of `segment`, without the batch dimension.

    Raises:
        AssertionError: If a replacement breaks the contract, or there is none.
    """
    if segment is not None:
        assert _check_case(builder, segment, input_shape), (
            "build returns no replacement for this segment"
        )
        return
    replaced = [_check_case(builder, *geometry) for geometry in _geometries()]
    assert any(replaced), "build returns no replacement for any of the test segments"


def _check_case(builder: BlockBuilder, segment: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Check the replacement of one segment; return whether there is one."""
    freeze(segment)
    chain = nn.Sequential()
    chain.add_module("block0", segment)
    x = torch.randn(3, *input_shape, generator=torch.Generator().manual_seed(1))
    (block,) = describe_blocks(chain, x[:1], ["block0"])
    before = fingerprint(segment)
    built, again_built = (_built(builder, segment, block, x) for _ in range(2))
    _check_segment(segment, before)
    assert (built is None) == (again_built is None), (
        "build returns a replacement in only one of two calls"
    )
    if built is None or again_built is None:
        return False
    replacement, again = built.module, again_built.module
    teacher = {tensor.data_ptr() for tensor in (*segment.parameters(), *segment.buffers())}
    student = {tensor.data_ptr() for tensor in (*replacement.parameters(), *replacement.buffers())}
    assert not teacher & student, "the replacement shares a tensor with the teacher's segment"
    assert fingerprint(replacement) == fingerprint(again), (
        "build returns different weights for the same seed: draw them from torch's global generator"
    )
    _check_shapes(replacement.eval(), x[:1], block)
    _check_pickle(replacement, x)
    _check_training(replacement, x, block)
    _check_rebuilding(built, builder, segment, block)
    _check_segment(segment, before)
    return True


def _built(
    builder: BlockBuilder, segment: nn.Module, block: Block, calibration: Tensor
) -> Built | None:
    build: Any = builder.build
    takes = {"calibration": calibration} if takes_calibration(builder) else {}
    before = calibration.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        answer = build(segment, block, **takes)
    assert torch.equal(calibration, before), "build changes the calibration"
    if answer is None:
        return None
    built = answer if isinstance(answer, Built) else Built(answer)
    assert isinstance(built.module, nn.Module), (
        f"build returns a {type(built.module).__name__}, not a torch module, pbkd.Built or None"
    )
    return built


def _check_rebuilding(
    built: Built, builder: BlockBuilder, segment: nn.Module, block: Block
) -> None:
    fault = options_fault(built.options)
    assert fault is None, f"build returns {fault}"
    again = _with_options(builder, built.options) if built.options else builder
    fault = rebuilding_fault(built.module, again, segment, block)
    assert fault is None, f"built from other weights {fault}; {CURE}"


def _with_options(builder: BlockBuilder, options: Mapping[str, Any]) -> BlockBuilder:
    """Create a builder with the options that `Built` states."""
    cls = type(builder)
    own = {name: getattr(builder, name) for name in option_types(cls)}
    try:
        return cls(**typed_options(cls, {**own, **options}, where="builder"))
    except ConfigError as error:
        raise AssertionError(f"Built states options that it does not take: {error}") from error


def _check_segment(segment: nn.Module, before: str) -> None:
    assert fingerprint(segment) == before, "the builder changes the teacher's segment"
    assert not any(p.requires_grad for p in segment.parameters()), (
        "the builder makes the teacher's segment trainable"
    )
    assert not any(module.training for module in segment.modules()), (
        "the builder puts the teacher's segment into training mode"
    )


def _check_shapes(replacement: nn.Module, x: Tensor, block: Block) -> Tensor:
    inputs = x.clone()
    output = replacement(inputs)
    assert isinstance(output, Tensor), (
        f"the replacement returns a {type(output).__name__}, not a tensor"
    )
    wanted = (len(x), *block.output_shape)
    assert output.shape == wanted, (
        f"the replacement returns {tuple(output.shape)} for {tuple(x.shape)}, not {wanted}"
    )
    assert torch.equal(inputs, x), "the replacement changes its input in place"
    assert bool(output.isfinite().all()), "the replacement returns values that are not finite"
    return output


def _check_pickle(replacement: nn.Module, x: Tensor) -> None:
    try:
        copy = pickle.loads(pickle.dumps(replacement))
    except Exception as error:
        raise AssertionError(f"the replacement cannot be pickled: {error}") from error
    assert torch.equal(copy(x), replacement(x)), (
        "an unpickled replacement returns different outputs"
    )


def _check_training(replacement: nn.Module, x: Tensor, block: Block) -> None:
    output = _check_shapes(replacement.requires_grad_(True).train(), x, block)
    output.square().mean().backward()  # type: ignore[no-untyped-call]
    trained = [p for p in replacement.parameters() if p.requires_grad and p.grad is not None]
    assert trained, "no parameter of the replacement gets a gradient"
