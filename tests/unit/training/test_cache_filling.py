"""Runs that fill one activation cache at the same time, and what killed ones leave."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as PoolTimeoutError
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from filelock import FileLock
from torch import Tensor, nn

from pbkd.core.blocks import Block
from pbkd.errors import CacheError
from pbkd.training.activation_cache import ActivationCache, CacheSpec
from pbkd.training.cache_filling import open_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS, CHUNK = 12, 3
IMAGES = torch.arange(float(ROWS * 2 * 3 * 3)).reshape(ROWS, 2, 3, 3)


class Killed(BaseException):
    """What a test raises where a process would have been killed."""


@pytest.fixture
def spec(tmp_path: Path) -> CacheSpec:
    return CacheSpec(tmp_path / "cache" / "key", [Block("a", 0, (2, 3, 3), (2, 3, 3))], ROWS)


def share(before: Callable[[int], object] = lambda _row: None) -> Iterator[tuple[slice, Tensor]]:
    for row in range(0, ROWS, CHUNK):
        before(row)
        yield slice(row, row + CHUNK), IMAGES[row : row + CHUNK]


def opened(spec: CacheSpec, rows: Iterator[tuple[slice, Tensor]] | None = None) -> ActivationCache:
    return open_cache(spec, nn.Sequential(nn.ReLU()), rows or share(), rank=0, workers=1)


def content(cache: ActivationCache) -> Tensor:
    return cache.read(1, torch.arange(ROWS).numpy())


def left(spec: CacheSpec) -> set[str]:
    return {path.name for path in spec.folder.parent.iterdir()} - {f".{spec.folder.name}.lock"}


def kill(_row: int) -> None:
    raise Killed


def test_a_second_run_waits_for_the_first_and_uses_its_cache(spec: CacheSpec) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def pause(row: int) -> None:
        if row == 2 * CHUNK:
            reached.set()
            assert go_on.wait(10)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(opened, spec, share(pause))
        assert reached.wait(10)
        second = pool.submit(opened, spec, share(kill))
        with pytest.raises(PoolTimeoutError):
            second.result(timeout=0.1)
        assert not spec.is_complete
        go_on.set()
        assert torch.equal(content(first.result(10)), IMAGES)
        assert torch.equal(content(second.result(10)), IMAGES)
    assert left(spec) == {"key"}


def test_a_run_whose_lock_does_not_hold_mixes_with_no_other(
    spec: CacheSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileLock, "acquire", lambda _lock: None)  # as on some network disks
    inner: list[ActivationCache] = []

    def fill_too(row: int) -> None:
        if row == CHUNK:
            inner.append(opened(spec, share()))

    outer = opened(spec, share(fill_too))
    for cache in (outer, *inner, opened(spec, share(kill))):
        assert torch.equal(content(cache), IMAGES)
    assert left(spec) == {"key"}


@pytest.mark.parametrize("row", range(0, ROWS, CHUNK))
def test_what_a_killed_run_leaves_is_not_used(spec: CacheSpec, row: int) -> None:
    killed = replace(spec, filling="1")
    cache = ActivationCache.create(killed)
    for rows, images in share():
        if rows.start < row:
            cache.write(1, rows, images + 1)
    cache.flush()
    assert torch.equal(content(opened(spec)), IMAGES)
    assert left(spec) == {"key"}
    cache.write(1, slice(0, ROWS), IMAGES + 1)  # its worker is not dead yet
    cache.flush()
    assert torch.equal(content(opened(spec, share(kill))), IMAGES)


def test_what_fails_leaves_nothing(spec: CacheSpec) -> None:
    with pytest.raises(Killed):
        opened(spec, share(kill))
    assert left(spec) == set()
    assert torch.equal(content(opened(spec)), IMAGES)


def test_a_cache_that_is_deleted_while_it_is_filled_is_told(spec: CacheSpec) -> None:
    def delete(row: int) -> None:
        if row == CHUNK:
            shutil.rmtree(spec.folder.parent)

    with pytest.raises(CacheError, match="was deleted while it was filled"):
        opened(spec, share(delete))
    assert torch.equal(content(opened(spec)), IMAGES)


def test_a_folder_without_checksums_is_filled_again(spec: CacheSpec) -> None:
    ActivationCache.create(spec)
    (spec.folder / "boundary-7.bin").mkdir()
    assert torch.equal(content(opened(spec)), IMAGES)
    assert sorted(path.name for path in spec.folder.iterdir()) == [
        "boundary-0.bin", "boundary-1.bin", "complete.json",
    ]  # fmt: skip


def test_a_complete_cache_is_read_without_its_lock(spec: CacheSpec) -> None:
    opened(spec)
    with FileLock(spec.folder.with_name(".key.lock")):
        assert torch.equal(content(opened(spec, share(kill))), IMAGES)
