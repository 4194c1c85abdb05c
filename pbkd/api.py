"""The Python interface: `pbkd.compress`, `pbkd.load` and `pbkd.transform`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.load import load_config
from pbkd.config.options import MEMORY
from pbkd.core.files import user_path
from pbkd.core.torch_modes import ordinary_modes
from pbkd.data.loader_rows import batch_size_of
from pbkd.data.normalization import Normalization, read_normalization
from pbkd.data.picture_transform import picture_transform
from pbkd.data.preprocessing import CFG, pretrained_cfg
from pbkd.data.torch_data import dataset_from_torch
from pbkd.errors import ConfigError
from pbkd.models.adopt import adopt
from pbkd.models.in_memory import InMemoryInputs
from pbkd.models.student_files import RECIPE, read_recipe, student_folder
from pbkd.models.student_input import preparation_of
from pbkd.models.student_loading import load_student
from pbkd.models.weight_values import check_network
from pbkd.pipeline.compressed import Compressed
from pbkd.pipeline.run import run
from pbkd.plugin.registry import build_registry
from pbkd.report.console.show import shown
from pbkd.zoo.store import resolve_student

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from pbkd.config.schema import RunConfig
    from pbkd.data.datasets import Dataset

__all__ = ["compress", "load", "transform"]


@ordinary_modes()
def compress(
    model: nn.Module,
    data: Any,
    *,
    test: Any = None,
    validation: Any = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: str | int | None = None,
    resume: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> Compressed:
    """Compress a trained network by blockwise knowledge distillation.

    It does what `pbkd run` does, for objects in memory. With several workers a script's own
    statements belong below `if __name__ == "__main__":`, since workers import it.

    Args:
        model: The trained network: images (N, C, H, W) to logits (N, classes). It stays unchanged.
        data: A torch `DataLoader`, another iterable of batches, a data set, a tensor of images, or
            a pair of images and labels; or a data source of `pbkd run`, such as `"digits"`. A
            loader gives the rows that it yields in a pass, and its batch size is the run's. Images
            are uint8, uint16 or floats, as the model expects them or in 0 … 1 with `mean` and
            `std`. Without labels, the student is compared with the teacher's predictions.
        test: The images for the final scores, in the same form; None for a tenth of `data`.
        validation: The images by which the student is selected; None for a tenth of `data`.
        mean: The mean of each channel, for images scaled to [0, 1]; None if the model has a
            `pretrained_cfg`, as timm's have, or the images are floats as the model expects them.
        std: The standard deviation of each channel.
        output: The key, name or index of the logits, if the model has several outputs.
        resume: The folder of a run that was stopped and is to be continued.
        quiet: Whether to print no progress.
        **options: The keys of `pbkd run`: `workers=2`, `builder={"name": "ghost"}`.

    Returns:
        The result; `result.student.network` is the student, and `result.export` exports it.

    Raises:
        PbkdError: If model, data or options are invalid, or the run fails.
    """
    inputs = _inputs(model, data, validation, test, mean, std)
    config = _config(inputs, output, data, options)
    if config.workers != 1:
        inputs.check_portable()
    folder = user_path(resume) if resume else None
    registry = build_registry(config.plugins, functions=[config.data["name"]])
    with nullcontext(lambda _event: None) if quiet else shown() as show:
        return Compressed(**vars(run(config, registry, show, resume=folder, inputs=inputs)))


def _config(
    inputs: InMemoryInputs, output: str | int | None, data: Any, options: dict[str, Any]
) -> RunConfig:
    """Load the configuration; a loader's batch size is kept unless the options have another."""
    if key := {"teacher", "data"} & options.keys():
        raise ConfigError(f"'{min(key)}' is no option here: it is an argument of its own.")
    size = batch_size_of(data) or 0
    kept = {"batch_size": size} if size > 1 else {}  # BatchNorm needs two images
    choice = data if inputs.data is None else MEMORY
    teacher = inputs.name if output is None else {"name": inputs.name, "output": str(output)}
    return load_config(options={**kept, **options, "teacher": teacher, "data": choice})


def _inputs(
    model: nn.Module,
    data: Any,
    validation: Any,
    test: Any,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> InMemoryInputs:
    """Check the arguments of `compress` and put them together."""
    adopted = adopt(model)
    check_network(adopted.network, "of the teacher")
    dataset: Dataset | None = None
    if not isinstance(data, (str, dict)):
        dataset = dataset_from_torch(data, validation, test)
    elif isinstance(data, dict) and "name" not in data:
        raise ConfigError(
            "a data choice needs the 'name' of a source; loaders and images are given one by one,"
            " as data, validation and test."
        )
    elif validation is not None or test is not None:
        raise ConfigError("a data choice has its own validation and test splits: give neither.")
    normalization, origins = _normalization(adopted.network, dataset, mean, std)
    return InMemoryInputs(adopted.network, normalization, dataset, adopted.notes, origins)


def _normalization(
    model: nn.Module,
    dataset: Dataset | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> tuple[Normalization, dict[str, str]]:
    """Take mean and std as given, else from the model, else none for float images."""
    cfg = pretrained_cfg(model)
    given = {"mean": mean, "std": std}
    found = {key: cfg.get(key) if value is None else value for key, value in given.items()}
    origins = {key: CFG if value is None else key for key, value in given.items()}
    if found["mean"] is not None and found["std"] is not None:
        return read_normalization(found["mean"], found["std"]), origins
    missing = [key for key, value in found.items() if value is None]
    if len(missing) == 1:
        raise ConfigError(f"give {missing[0]} too: mean and std are needed together, or neither.")
    if dataset and dataset.pixel_range:
        return Normalization.identity(dataset.image_shape[0]), {}
    raise ConfigError(
        "it is not known how the images are normalised: give mean and std, a number for each"
        " channel, or float images that are normalised already."
    )


@ordinary_modes()
def load(
    folder: str | Path, *, plugins: Sequence[str] = (), make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Load a student.

    Neither the teacher's weights nor pickle are needed. Names in the recipe are looked up among the
    installed plugins and `plugins`; no other code is run.

    Args:
        folder: The folder of a finished run; or one with `config.json` and `model.safetensors`; or
            the name of a student in the zoo; or `OWNER/NAME` or `OWNER/NAME@REVISION` on the
            Hugging Face hub, from which it is fetched unless its cache has it.
        plugins: Plugins beside the installed ones: modules or `.py` files.
        make: Builds the teacher's network, if that is your own. Without it, a student of your own
            network is built from the operations in its folder, as traced in evaluation mode.

    Returns:
        The student, in evaluation mode, on the CPU. Its attribute `preparation` says how pictures
        become its input, see `transform`, and `class_names` are the names of its classes, or None.

    Raises:
        RunFolderError: If the folder holds no student, or `make` is missing where it is needed.
        HubError: If the student cannot be fetched from the hub.
        WeightsError: If its weights are damaged.
        UnknownNameError: If a name in the recipe is not registered.
    """
    return load_student(resolve_student(folder), plugins=plugins, make=make)


def transform(student: nn.Module | str | Path) -> Any:
    """Return the transforms that turn a picture into a student's input, as in its run.

    Args:
        student: What `pbkd.load` returned, or `result.student.network` of `pbkd.compress`; or the
            folder of a run or student, or its name in the zoo or on the Hugging Face hub.

    Returns:
        A `torchvision.transforms.v2.Compose`. It takes a Pillow image, or a tensor (..., C, H, W)
        of uint8 or of floats in [0, 1], and returns a float32 tensor (..., C, height, width).

    Raises:
        ConfigError: If the preparation is unknown.
        RunFolderError: If the folder holds no student.
    """
    if isinstance(student, (str, Path)):
        folder = student_folder(resolve_student(student))
        return picture_transform(read_recipe(folder / RECIPE).preparation)
    return picture_transform(preparation_of(student))
