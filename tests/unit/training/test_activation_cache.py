from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from pbkd.errors import CacheError
from pbkd.models.chain import describe_blocks
from pbkd.models.precision import autocast
from pbkd.training.activation_cache import (
    ActivationCache,
    CacheSpec,
    boundaries,
    cache_bytes,
    cache_key,
)
from pbkd.training.cache_filling import fill_cache, open_cache
from pbkd.training.feeds import from_cache

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.core.blocks import Block
    from pbkd.training.task import DistillationTask


@pytest.fixture
def blocks(digits: DistillationTask) -> list[Block]:
    return describe_blocks(digits.chain, digits.images[:1], ["conv1_2", "conv2_1", "conv2_2"])


def _opened(
    folder: Path, blocks: list[Block], digits: DistillationTask, dtype: torch.dtype = torch.float32
) -> ActivationCache:
    split = digits.data.train
    rows = torch.split(torch.arange(len(split)), 64)
    share = (
        (slice(int(r[0]), int(r[-1]) + 1), digits.normalize(split.images(r)).to(dtype))
        for r in rows
    )
    chain = nn.Sequential(*(autocast(segment, dtype) for segment in digits.fused))
    return open_cache(CacheSpec(folder, blocks, len(split), dtype), chain, share, rank=0, workers=1)


def test_neighbours_share_a_boundary(blocks: list[Block]) -> None:
    positions = [block.position for block in blocks]
    assert positions == [1, 3, 4]  # a pooling lies between the first two
    assert list(boundaries(blocks)) == [1, 2, 3, 4, 5]
    sizes = [32 * 64, 32 * 64, 32 * 16, 64 * 16, 64 * 16]
    assert cache_bytes(blocks, rows=10) == 10 * 4 * sum(sizes)


def test_what_is_read_is_what_the_teacher_gave(
    digits: DistillationTask, blocks: list[Block], tmp_path: Path
) -> None:
    cache = _opened(tmp_path / "cache", blocks, digits)
    rows = torch.tensor([700, 3, 1076, 3])
    with torch.no_grad():
        x = digits.fused[:3](digits.normalize(digits.data.train.images(rows)))
    # A batch of 4 may be rounded by other kernels than one of 64.
    torch.testing.assert_close(cache.read(3, rows.numpy()), x, rtol=1e-4, atol=1e-5)


def test_lessons_are_each_blocks_input_and_output(
    digits: DistillationTask, blocks: list[Block], tmp_path: Path
) -> None:
    cache = _opened(tmp_path / "cache", blocks, digits)
    rows = torch.arange(64)
    (lessons,) = from_cache(cache, blocks, [rows], torch.device("cpu"))
    given = [next(lessons)]
    given += [lessons.send(given[-1][2]), lessons.send(given[-1][2])]
    assert [lesson.block for lesson in given] == [block.name for block in blocks]
    for block, (_, x, y, teacher_x) in zip(blocks, given, strict=True):
        assert teacher_x is x
        assert (tuple(x.shape[1:]), tuple(y.shape[1:])) == (block.input_shape, block.output_shape)
        with torch.no_grad():
            assert torch.equal(digits.fused[block.position](x), y)
        assert x.is_contiguous(memory_format=torch.channels_last)


def test_half_precision_takes_half_the_disk_and_loses_no_bit(
    digits: DistillationTask, blocks: list[Block], tmp_path: Path
) -> None:
    cache = _opened(tmp_path / "cache", blocks, digits, torch.bfloat16)
    size = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.bin"))
    assert size == cache_bytes(blocks, len(digits.data.train), torch.bfloat16)
    rows = torch.arange(64)
    with torch.no_grad():
        x = digits.normalize(digits.data.train.images(rows)).to(torch.bfloat16)
        for segment in digits.fused[:2]:
            x = autocast(segment, torch.bfloat16)(x)
    assert torch.equal(cache.read(2, rows.numpy()), x)


def test_a_finished_cache_is_not_filled_again(
    digits: DistillationTask, blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _opened(tmp_path / "cache", blocks, digits)
    expected = first.read(4, torch.arange(5).numpy()).clone()
    monkeypatch.setattr("pbkd.training.cache_filling.fill_cache", None)
    again = _opened(tmp_path / "cache", blocks, digits)
    assert torch.equal(again.read(4, torch.arange(5).numpy()), expected)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_cache_is_told(
    digits: DistillationTask, blocks: list[Block], tmp_path: Path, damage: str
) -> None:
    _opened(tmp_path / "cache", blocks, digits)
    path = tmp_path / "cache" / "boundary-3.bin"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-4])
    with pytest.raises(CacheError, match=r"boundary-3\.bin'? (is damaged|has)|cannot be opened"):
        _opened(tmp_path / "cache", blocks, digits)


def test_the_key_changes_with_every_fact() -> None:
    facts = {"teacher": "a", "data": {"name": "digits"}, "cut": [1, 2]}
    keys = {
        cache_key(facts),
        cache_key({**facts, "teacher": "b"}),
        cache_key({**facts, "cut": [1]}),
    }
    assert len(keys) == 3
    assert cache_key(dict(reversed(facts.items()))) == cache_key(facts)


def test_filling_runs_the_teacher_no_further_than_the_last_boundary(tmp_path: Path) -> None:
    class Untouchable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            raise AssertionError("the teacher was run too far")

    chain = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1), Untouchable())
    blocks = describe_blocks(chain[:2], torch.rand(1, 1, 2, 2), ["0", "1"])
    cache = ActivationCache.create(CacheSpec(tmp_path, blocks, 4))
    images = torch.rand(4, 1, 2, 2)
    fill_cache(cache, chain, [(slice(0, 4), images)])
    assert torch.equal(cache.read(0, torch.arange(4).numpy()), images)
    with torch.no_grad():
        assert torch.equal(cache.read(2, torch.arange(4).numpy()), chain[:2](images))
