"""Exports a run's student, and has each file predict the run's test images in its engine alone.

`python -m tests.integration.engines.agreement RUN [FORMAT...]` prints how often the classes are
those that the run's test gave. ENGINE/FORMAT names another engine than the format's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import pbkd
from pbkd.core.process import thread_count
from pbkd.models.export import create_exporter, export
from pbkd.models.export_images import draw_export_images
from pbkd.pipeline.trust import open_run
from pbkd.training.task import build_task

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = (
    "onnx", "onnx-int8", "openvino", "openvino/onnx-int8", "torch-export", "torchscript", "pytorch",
    "safetensors", "pt2e", "executorch", "executorch-int8",
)  # fmt: skip
ENGINES = {
    "onnx": "onnxruntime", "onnx-int8": "onnxruntime", "openvino": "openvino",
    "executorch": "executorch", "executorch-int8": "executorch",
}  # fmt: skip
PREDICT = Path(__file__).with_name("predict.py")


@dataclass(frozen=True)
class Agreement:
    """What the file of one format predicts.

    Attributes:
        agreement: Share of the test images that get the class of the run's test.
        accuracy: Share of the test images that are classified correctly.
        bytes: Size of the files, without the description.
    """

    agreement: float
    accuracy: float
    bytes: int


def agreements(run: Path, formats: Sequence[str]) -> dict[str, Agreement]:
    """Export the student of a run, and compare the classes of its files with the run's test."""
    config, registry = open_run(run)
    with thread_count(1), TemporaryDirectory() as folder:
        task = build_task(config, registry, "cpu")
        student, test = pbkd.load(run), task.data.test
        classes = task.predict(student, test)
        recorded = json.loads((run / "result.json").read_text())["student"]["accuracy"]
        assert abs(float((classes == test.labels).double().mean()) - recorded) < 1e-3
        images = draw_export_images(task.data, task.teacher.normalization, config.seed)
        pixels = test.images(torch.arange(len(test)))
        assert pixels.dtype == torch.uint8
        np.save(Path(folder, "images.npy"), pixels.numpy())
        kinds = dict.fromkeys(name.rpartition("/")[2] for name in formats)
        exports = {
            kind: export(
                student,
                create_exporter(registry, kind, {}),
                Path(folder, kind.replace("-", "_")),
                images=images,
            )
            for kind in kinds
        }
        files: dict[str, dict[str, Any]] = defaultdict(dict)
        for name in formats:
            engine, _, kind = name.rpartition("/")
            files[engine or ENGINES.get(kind, "torch")][name] = exports[kind]
        return {
            name: Agreement(
                float((found == classes).double().mean()),
                float((found == test.labels).double().mean()),
                sum(file.stat().st_size for file in done.files[:-1]),
            )
            for engine, group in files.items()
            for (name, done), found in zip(
                group.items(), predicted(engine, group, Path(folder)), strict=True
            )
        }


def predicted(engine: str, group: dict[str, Any], folder: Path) -> torch.Tensor:
    """Predict the classes of the images in `folder` by each file of an engine, (files, images)."""
    classes = folder / f"{engine}.npy"
    words: list[str | Path] = [sys.executable, PREDICT, engine, folder / "images.npy", classes]
    paths = [done.path for done in group.values()]
    done = subprocess.run([*words, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return torch.from_numpy(np.load(classes))


if __name__ == "__main__":
    for kind, found in agreements(Path(sys.argv[1]), sys.argv[2:] or FORMATS).items():
        shares = f"{100 * found.agreement:6.2f} % agree, {100 * found.accuracy:.2f} % correct"
        print(f"{kind:20} {found.bytes:>10,} bytes  {shares}", flush=True)
