"""The teacher: building a network by name and loading its trained weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbkd.config.options import MEMORY, choice_options, declared_options, typed_options
from pbkd.core.files import user_path
from pbkd.core.torch_modes import kept_modes
from pbkd.errors import (
    PbkdError,
    TeacherError,
    UnknownNameError,
    first_line,
)
from pbkd.models.adopt import adopt, loadable
from pbkd.models.refusals import check_kind
from pbkd.models.teacher_normalization import find_normalization
from pbkd.models.teacher_options import TeacherOptions, split_options
from pbkd.models.teacher_weights import load_weights
from pbkd.models.user_function import import_function
from pbkd.models.weight_values import check_network
from pbkd.models.weights import converted, fit_weights, read_tensors
from pbkd.models.wrappers import copied, unwrapped
from pbkd.plugin.user_code import check_function_trusted, is_user_function
from pbkd.protocols import ZooModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from pbkd.data.normalization import Normalization
    from pbkd.plugin.registry import Registry


__all__ = [
    "Teacher",
    "build_network",
    "check_teacher_options",
    "declared_teacher",
    "find_model",
    "list_variants",
    "load_teacher",
    "load_untrained",
    "user_network_factory",
]


@dataclass(frozen=True)
class Teacher:
    """A frozen, trained network.

    Attributes:
        name: Its name in configuration and results.
        network: The network, in evaluation mode and without gradients.
        normalization: How its images are normalised; the identity if that is unknown.
        weights: Where its weights come from: a file, `random`, `pretrained`, `its own` or `given`.
        notes: Remarks for the user on how it was taken, a sentence each.
        origins: Where `mean` and `std` of its normalisation came from; empty if they are unknown.
    """

    name: str
    network: nn.Module
    normalization: Normalization
    weights: str
    notes: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)


def find_model(registry: Registry, name: str) -> tuple[ZooModel, dict[str, str]]:
    """Look up a model by name; `module:function` imports the user's module.

    Args:
        registry: Where models are registered.
        name: `model`, `family:variant` or `module:function`.

    Returns:
        The model and, for `family:variant`, the option `variant`.

    Raises:
        UnknownNameError: If there is no such model, module or function.
        TeacherError: If importing the user's module fails.
        TrustError: If the function is not one of `registry.functions`.
    """
    if is_user_function(registry, name):
        if not name.startswith(f"{MEMORY}:"):
            check_function_trusted(registry, name, "teacher")
        function = import_function(name, registry.strategies["model"])
        return ZooModel(name, function, "a network of your own", mean=(), std=()), {}
    family, colon, variant = name.partition(":")
    model: ZooModel = registry.find("model", family)
    if bool(colon) != (model.variants is not None):
        wanted = f"'{family}:VARIANT'" if model.variants else f"'{family}' alone"
        raise UnknownNameError(f"'{name}' names no network: write {wanted}.")
    return model, {"variant": variant} if colon else {}


def list_variants(registry: Registry, family: str) -> Sequence[str]:
    """List the variants that a family can build.

    Raises:
        UnknownNameError: If `family` is a single model or unknown.
    """
    model: ZooModel = registry.find("model", family)
    if model.variants is None:
        raise UnknownNameError(f"'{family}' is one network, not a family of them.")
    return model.variants()


def user_network_factory(
    registry: Registry, choice: Mapping[str, Any]
) -> Callable[[], nn.Module] | None:
    """Return a function that builds the user's own network.

    It is None for a registered model, and for the network of a program that called `pbkd.compress`.

    Args:
        registry: Where models are registered.
        choice: The configuration's `teacher`.
    """
    name = choice["name"]
    if not is_user_function(registry, name) or name.startswith(f"{MEMORY}:"):
        return None
    return partial(build_network, registry, choice)


def build_network(registry: Registry, choice: Mapping[str, Any]) -> nn.Module:
    """Build the network that a `teacher` choice names, without trained weights or wrappers.

    Raises:
        UnknownNameError: If there is no such model.
        TeacherError: If the model cannot be built with these options.
    """
    untrained = {"pretrained": False} if "pretrained" in choice else {}
    network, _ = unwrapped(_build(registry, {**choice, **untrained}))
    check_kind(network)
    module: nn.Module = network
    return module


def check_teacher_options(registry: Registry, choice: Mapping[str, Any]) -> None:
    """Check the name and the options of a `teacher` choice; nothing is built or imported.

    The user's own function is not checked, since that would run its module.

    Raises:
        UnknownNameError: There is no such model.
        ConfigError: An option is unknown, missing, or of the wrong type.
    """
    if not is_user_function(registry, choice["name"]):
        _model_and_options(registry, choice)


def _model_and_options(
    registry: Registry, choice: Mapping[str, Any]
) -> tuple[ZooModel, dict[str, Any]]:
    model, variant = find_model(registry, choice["name"])
    _, options = split_options(choice)
    return model, typed_options(model.build, {**variant, **options}, where="teacher")


def _build(registry: Registry, choice: Mapping[str, Any]) -> Any:
    model, options = _model_and_options(registry, choice)
    try:
        with kept_modes():
            return model.build(**options)
    except PbkdError:
        raise
    except Exception as error:
        raise TeacherError(
            f"the network '{choice['name']}' cannot be built with these options:"
            f" {first_line(error)}"
        ) from error


def declared_teacher(registry: Registry, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the options of a `teacher` choice towards their declared types.

    Raises:
        UnknownNameError: If there is no such model.
        TeacherError: If importing the user's module fails.
    """
    model, _ = find_model(registry, choice["name"])
    options = declared_options(model.build, choice_options(choice))
    declared = declared_options(TeacherOptions, options)
    return {"name": choice["name"], **declared}


def load_teacher(registry: Registry, choice: Mapping[str, Any]) -> Teacher:
    """Build a teacher with its trained weights.

    The weights come from `teacher.weights` (a file, or `random`), from the download that
    `teacher.pretrained=true` starts, from the zoo, or, for the user's own network, from the
    function that builds it.

    Args:
        registry: Where models are registered.
        choice: The configuration's `teacher`.

    Returns:
        The teacher, in evaluation mode and without gradients, on the CPU.

    Raises:
        UnknownNameError: If there is no such model.
        TeacherError: If it cannot be built, or has no trained weights.
        WeightsError: If the file of weights is damaged or does not fit.
        ConfigError: If mean and standard deviation of its images are unknown.
    """
    choice = declared_teacher(registry, choice)
    given, source, remarks = _with_weights(registry, choice)
    adopted = adopt(given)
    check_network(adopted.network, "of the teacher")
    return _teacher(registry, choice, adopted.network, source, (*remarks, *adopted.notes))


def load_untrained(registry: Registry, choice: Mapping[str, Any]) -> Teacher:
    """Build a network that is to be trained; all its layers stay as they are.

    Args:
        registry: Where models are registered.
        choice: The configuration's `teacher`. Unlike for `load_teacher`, a registered model has
            random weights unless the choice says otherwise.

    Returns:
        A copy of the network in float32, on the CPU, as a teacher whose weights may be random.

    Raises:
        PbkdError: As in `load_teacher`.
    """
    choice = declared_teacher(registry, choice)
    is_random = not choice.get("pretrained") and not is_user_function(registry, choice["name"])
    default = {"weights": "random"} if is_random else {}
    choice = {**choice, **(default if choice.get("weights") is None else {})}
    given, source, remarks = _with_weights(registry, choice)
    network = copied(loadable(given))
    check_network(network, "of the network")
    return _teacher(registry, choice, network, source, remarks)


def _with_weights(
    registry: Registry, choice: Mapping[str, Any]
) -> tuple[Any, str, tuple[str, ...]]:
    """Build a network and load its weights; say where they come from, with remarks."""
    model, _ = find_model(registry, choice["name"])
    options, _ = split_options(choice)
    source: str | Path | None = options.weights or model.weights
    if source is None and choice.get("pretrained"):
        source = "pretrained"
    else:
        choice = {**choice, "pretrained": False} if "pretrained" in choice else choice
    given = _build(registry, choice)
    if source is None and is_user_function(registry, choice["name"]):
        source = "its own"
    if source is None:
        raise TeacherError(
            f"the teacher '{choice['name']}' has no trained weights: give teacher.weights=FILE"
            + (", or teacher.pretrained=true to download them." if model.variants else ".")
        )
    remarks: tuple[str, ...] = ()
    if options.weights not in (None, "random"):
        remarks = load_weights(loadable(given), user_path(options.weights))
    elif isinstance(source, Path):
        remarks = _load_zoo_weights(loadable(given), source)
    return given, str(source), remarks


def _teacher(
    registry: Registry,
    choice: Mapping[str, Any],
    network: nn.Module,
    weights: str,
    notes: tuple[str, ...],
) -> Teacher:
    model, _ = find_model(registry, choice["name"])
    options, _ = split_options(choice)
    given = {"mean": options.mean, "std": options.std}
    normalization, origins = find_normalization(model, network, given)
    return Teacher(choice["name"], network, normalization, weights, notes, origins)


def _load_zoo_weights(network: nn.Module, path: Path) -> tuple[str, ...]:
    """Load the weights that a plugin ships with its model; remark on what was not checked."""
    tensors, has_checksum = read_tensors(path)
    weights = converted(tensors, network.state_dict())
    fit_weights(network, weights, path)
    if has_checksum:
        return ()
    return (f"'{path}' has no checksum: damage to its numbers would not be found.",)
