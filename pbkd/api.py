"""`pbkd.compress`: what `pbkd run` does, on a network and images that a program has in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.load import load_config
from pbkd.config.options import MEMORY
from pbkd.data.load import pretrained_cfg
from pbkd.data.normalization import Normalization
from pbkd.data.torch_data import dataset_from_torch
from pbkd.errors import ConfigError
from pbkd.models.in_memory import InMemoryInputs
from pbkd.pipeline.load import load as load_student
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.zoo.store import resolve_student

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from pbkd.core.results import RunResult
    from pbkd.data.datasets import Dataset

__all__ = ["compress", "load"]


def compress(
    model: nn.Module,
    data: Any,
    *,
    test: Any = None,
    validation: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    resume: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> RunResult:
    """Compress a trained network by blockwise distillation; `result.student.network` is the result.

    `model` maps images (N, C, H, W) to logits (N, classes) and stays as it is. `data` is what to
    train on: a torch `DataLoader`, a map-style data set, a tensor of images, or a pair of images
    and labels; or a data choice of `pbkd run`, such as `"digits"` or `{"name": "npz", "path":
    FILE}`. Images are float32, normalised as the model wants them, or uint8, to be normalised by
    `mean` and `std`. `validation`, by which everything is chosen, and `test`, which is scored in
    the end, are tenths of the data if they are not given. Without labels the student is compared
    with its teacher's answers alone.

    `options` are the keys of `pbkd run`: `workers=2, builder={"name": "low-rank", "share": 0.3},
    finetune={"epochs": 5}`. `resume` is the folder of a run that was stopped. Progress is printed
    unless `quiet`. Raises `PbkdError` for whatever is wrong. With several workers, which import the
    program that starts them, a script's own lines belong below `if __name__ == "__main__":`.

        result = pbkd.compress(model, loader, test=test_loader)
        student = result.student.network
    """
    for key in ("teacher", "data"):
        if key in options:
            raise ConfigError(f"'{key}' is no option here: it is an argument of its own.")
    inputs = _inputs(model, data, validation, test, mean, std)
    choice = data if inputs.data is None else MEMORY
    config = load_config(options={**options, "teacher": inputs.name, "data": choice})
    if config.workers != 1:
        inputs.check_portable()
    registry = build_registry(config.plugins)
    folder = Path(resume) if resume else None
    if quiet:
        return run(config, registry, resume=folder, inputs=inputs)
    from pbkd.report.console.show import shown

    with shown() as show:
        return run(config, registry, show, resume=folder, inputs=inputs)


def _inputs(
    model: nn.Module,
    data: Any,
    validation: Any,
    test: Any,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> InMemoryInputs:
    own: Dataset | None = None
    if not isinstance(data, (str, dict)):
        own = dataset_from_torch(data, validation, test)
    elif validation is not None or test is not None:
        raise ConfigError("a data choice has its own validation and test splits: give neither.")
    cfg = pretrained_cfg(model)
    floats = own is not None and own.train.images(torch.tensor([0])).is_floating_point()
    channels = own.image_shape[0] if own else 0
    known = ([0.0] * channels, [1.0] * channels) if floats else (cfg.get("mean"), cfg.get("std"))
    mean, std = mean or known[0], std or known[1]
    if not mean or not std:
        raise ConfigError(
            "it is not known how the images are normalised: give mean and std, a number for each"
            " channel, or float images that are normalised already."
        )
    inputs = InMemoryInputs(model, Normalization(tuple(mean), tuple(std)), own)
    return replace(inputs, data=_with_classes(own, inputs)) if own else inputs


def _with_classes(data: Dataset, inputs: InMemoryInputs) -> Dataset:
    """Return labelled data with as many classes as the model has, of which labels may miss some."""
    teacher = inputs.teacher()
    image = teacher.normalization.apply(data.train.images(torch.tensor([0])), "cpu")
    try:
        logits = teacher.network(image)
        fits = data.num_classes is not None and data.num_classes <= logits.shape[1]
    except Exception:  # what does not fit is told when the run is prepared
        return data
    return replace(data, num_classes=logits.shape[1]) if fits else data


def load(
    folder: str | Path, *, plugins: Sequence[str] = (), make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Return a student, in evaluation mode, on the CPU.

    `folder` is a finished run's, or one with a student's own files (`config.json` and
    `model.safetensors`, as on the Hugging Face hub), or the name of a student in a zoo folder.
    It takes images normalised as its teacher's are. Neither the teacher's weights nor pickle is
    needed; names in the recipe resolve among the installed plugins and those given here, and
    no other code is run. So the student of a network of your own needs `make`, the function that
    makes that network. Raises `RunFolderError`, `WeightsError` or `UnknownNameError`.
    """
    return load_student(resolve_student(folder), plugins=plugins, make=make)
