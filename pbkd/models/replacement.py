"""Replacements: building, checks, initial weights."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pbkd.core.plain_data import to_plain
from pbkd.core.process import thread_count
from pbkd.core.seeding import derive_seed
from pbkd.errors import PLUGIN_FAILURES, PluginError, first_line
from pbkd.models.calibration import checksum, takes_calibration
from pbkd.models.metrics import parameters
from pbkd.models.weights import fingerprint, fit_weights, read_weights
from pbkd.plugin.attribution import describe_failure, describe_strategy
from pbkd.protocols import Built

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.protocols import BlockBuilder


__all__ = [
    "ask_builder",
    "build_replacement",
    "is_kept",
    "options_fault",
    "read_replacement",
    "replaceable",
]


def is_kept(name: str, patterns: Sequence[str]) -> bool:
    """Whether a segment's name matches one of the shell-style `keep` patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def replaceable(chain: nn.Sequential, keep: Sequence[str]) -> list[str]:
    """List the segments that have parameters and match none of the `keep` patterns."""
    return [
        name
        for name, segment in chain.named_children()
        if parameters(segment) and not is_kept(name, keep)
    ]


def build_replacement(
    builder: BlockBuilder,
    segment: nn.Module,
    block: Block,
    seed: int,
    calibration: Tensor | None = None,
) -> Built | None:
    """Build a block's replacement and check it.

    Its random weights depend on (seed, block name) alone.

    Args:
        builder: Builds the replacement.
        segment: The teacher's segment.
        block: Its name and shapes.
        seed: The run's seed.
        calibration: Inputs of the block, for a builder that takes them.

    Returns:
        The replacement, with gradients and channels-last, and the options that the builder chose;
        None if the builder has none.

    Raises:
        PluginError: If the builder raises, or changes the segment or the calibration; if the
            replacement has a wrong output shape, changes its input, or shares a tensor with the
            segment; or if the options are not JSON.
    """
    if any(tensor.device.type != "cpu" for tensor in segment.parameters()):
        segment = copy.deepcopy(segment).cpu()
    before = fingerprint(segment)
    # The rounding of decompositions depends on the number of threads; a run must not.
    with thread_count(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "replacement", block.name))
        try:
            built = ask_builder(builder, segment, block, calibration)
            if built is None:
                return None
            fault = _fault(built.module, segment, block) or options_fault(built.options)
        except PLUGIN_FAILURES as error:
            where = f"build on block '{block.name}'"
            raise PluginError(f"{describe_failure('builder', builder, where, error)}.") from error
        finally:
            _check_segment(builder, segment, block, before)
    if fault:
        raise PluginError(
            f"{describe_strategy('builder', builder)} gives block '{block.name}' {fault}."
        )
    module = built.module.requires_grad_(True).to(memory_format=torch.channels_last)
    return Built(module, to_plain(built.options))


def ask_builder(
    builder: BlockBuilder, segment: nn.Module, block: Block, calibration: Tensor | None = None
) -> Built | None:
    """Call `build`, with the calibration if the builder takes one; for builders of builders.

    Args:
        builder: Builds the replacement.
        segment: The teacher's segment.
        block: Its name and shapes.
        calibration: Inputs of the block; None if there are none.

    Returns:
        The replacement, with the options that the builder chose; None if it has none.

    Raises:
        PluginError: If the builder changes the calibration.
    """
    takes = {"calibration": calibration} if takes_calibration(builder) else {}
    before = None if calibration is None else checksum(calibration)
    build: Any = builder.build
    answer: nn.Module | Built | None = build(segment, block, **takes)
    if calibration is not None and checksum(calibration) != before:
        raise PluginError("it changes the calibration: it must work on a copy")
    return answer if answer is None or isinstance(answer, Built) else Built(answer)


def _check_segment(builder: BlockBuilder, segment: nn.Module, block: Block, before: str) -> None:
    if fingerprint(segment) != before:
        raise PluginError(
            f"{describe_strategy('builder', builder)} changes the teacher's segment"
            f" '{block.name}' in build: it must work on a copy."
        )


@torch.no_grad()
def _fault(replacement: nn.Module, segment: nn.Module, block: Block) -> str | None:
    """Describe what is wrong with a replacement; None if nothing is."""
    if not isinstance(replacement, nn.Module):
        return f"a replacement that is a {type(replacement).__name__}, not a torch module"
    theirs = {tensor.data_ptr() for tensor in (*segment.parameters(), *segment.buffers())}
    mine = (*replacement.parameters(), *replacement.buffers())
    if any(tensor.numel() and tensor.data_ptr() in theirs for tensor in mine):
        return (
            "a replacement that shares a tensor with the teacher's segment: it must work on a copy"
        )
    x = torch.linspace(-1, 1, math.prod(block.input_shape)).reshape(1, *block.input_shape)
    passed = x.clone()
    was_training = replacement.training
    output = replacement.eval()(passed)
    replacement.train(was_training)
    if not isinstance(output, Tensor):
        return f"a replacement that gives a {type(output).__name__}, not one tensor"
    if output.shape[1:] != block.output_shape:
        shape = tuple(output.shape[1:])
        return f"a replacement with output shape {shape} instead of {block.output_shape}"
    return None if torch.equal(passed, x) else "a replacement that changes its input in place"


def options_fault(options: Any) -> str | None:
    """Describe what is wrong with the options of `Built`; None if nothing is.

    Args:
        options: The options, which should be a mapping that JSON can hold.

    Returns:
        The rest of a sentence such as "build returns options that are not JSON".
    """
    if not isinstance(options, Mapping):
        return f"options that are a {type(options).__name__}, not a mapping"
    if "name" in options:
        return "an option 'name', which is the builder's own name"
    try:
        plain = to_plain(options)
        same = json.loads(json.dumps(plain, allow_nan=False)) == plain
    except (TypeError, ValueError, RecursionError) as error:
        return f"options that are not JSON ({first_line(error).rstrip('.')})"
    return None if same else "options that are not JSON (their keys are not all text)"


def read_replacement(folder: Path, replacement: nn.Module, name: str) -> nn.Module:
    """Load a replacement's weights from `folder/NAME.safetensors`.

    Returns:
        The replacement itself.

    Raises:
        WeightsError: If the file is missing, damaged or of another shape.
    """
    path = folder / f"{name}.safetensors"
    fit_weights(replacement, read_weights(path), path)
    return replacement
