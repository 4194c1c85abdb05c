"""Images that processes read."""

from __future__ import annotations

from pathlib import Path

import torch
from pbkd_imagefolder import ImageFolderSource

from pbkd.data.batching import shuffled_batches
from tests.unit.data.augmenting import created
from tests.unit.data.test_image_folder import paint


def drawn(source: ImageFolderSource) -> torch.Tensor:
    data = source.load()
    read = shuffled_batches(data.train, 3, seed=5, epoch=0, augmentation=created(data.augmentation))
    return torch.cat([images for images, _ in read])


def test_processes_read_what_threads_read(tmp_path: Path) -> None:
    for part in ("train", "test"):
        paint(tmp_path, part, 4)
    threads, processes = (
        ImageFolderSource(str(tmp_path), size=8, validation=0.25, area=0.3, workers=workers)
        for workers in (0, 2)
    )
    assert torch.equal(drawn(threads), drawn(processes))
    before = torch.get_rng_state()
    drawn(processes)
    assert torch.equal(torch.get_rng_state(), before)
