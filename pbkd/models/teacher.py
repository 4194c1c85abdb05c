"""Models that can be teachers: what a zoo registers, and how a teacher is built from it."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from pbkd.config.options import MEMORY, typed_options
from pbkd.data.load import pretrained_cfg
from pbkd.errors import (
    ConfigError,
    PbkdError,
    TeacherError,
    UnknownNameError,
    did_you_mean,
    first_line,
)
from pbkd.models.chain import freeze
from pbkd.models.weights import fit_weights, read_weights
from pbkd.protocols import ZooModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pbkd.data.datasets import Dataset
    from pbkd.plugin.registry import Registry


__all__ = [
    "InMemoryInputs",
    "Teacher",
    "build_network",
    "find_model",
    "is_own",
    "list_variants",
    "load_teacher",
    "own_function",
    "own_maker",
]


@dataclass(frozen=True)
class Teacher:
    """A teacher, frozen, with the normalisation that its images need and its weights' origin."""

    name: str
    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str


@dataclass(frozen=True)
class _Own:
    """The options that every teacher has, beside those of its `build`."""

    weights: str | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


def find_model(registry: Registry, name: str) -> tuple[ZooModel, dict[str, str]]:
    """Return the model called `name` and, for `family:variant`, the variant as an option.

    `module:function` is a network of the user's own: the module is imported.
    """
    if is_own(registry, name):
        function = own_function(name, registry.strategies["model"])
        return ZooModel(name, function, "a network of your own", mean=(), std=()), {}
    family, colon, variant = name.partition(":")
    model: ZooModel = registry.find("model", family)
    if bool(colon) != (model.variants is not None):
        wanted = f"'{family}:VARIANT'" if model.variants else f"'{family}' alone"
        raise UnknownNameError(f"'{name}' names no network: write {wanted}.")
    return model, {"variant": variant} if colon else {}


def is_own(registry: Registry, name: str) -> bool:
    """Say whether a name is that of a function, `module:function`, and of no model."""
    family, colon, _ = name.partition(":")
    return bool(colon) and family not in registry.strategies["model"]


def own_maker(registry: Registry, choice: Mapping[str, Any]) -> Callable[[], nn.Module] | None:
    """Return what makes the network of a `teacher` choice, if it is of the user's own."""
    own = is_own(registry, choice["name"])
    return partial(build_network, registry, choice) if own else None


def build_network(registry: Registry, choice: Mapping[str, Any]) -> nn.Module:
    """Build the network that a `teacher` choice names, without any trained weights."""
    untrained = {"pretrained": False} if "pretrained" in choice else {}
    return _build(registry, {**choice, **untrained})


def _build(registry: Registry, choice: Mapping[str, Any]) -> nn.Module:
    model, variant = find_model(registry, choice["name"])
    _, given = _split(choice)
    options = typed_options(model.build, {**variant, **given}, where="teacher")
    try:
        network = model.build(**options)
    except PbkdError:
        raise
    except Exception as error:
        raise TeacherError(
            f"the network '{choice['name']}' cannot be built with these options:"
            f" {first_line(error)}"
        ) from error
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise TeacherError(f"'{choice['name']}' gives a {kind}, not a torch module.")
    return network


def _split(choice: Mapping[str, Any]) -> tuple[_Own, dict[str, Any]]:
    """Return the options that every teacher has, and those of the model's `build`."""
    given = {key: value for key, value in choice.items() if key != "name"}
    own = {f.name: given.pop(f.name) for f in fields(_Own) if f.name in given}
    return _Own(**typed_options(_Own, own, where="teacher")), given


def list_variants(registry: Registry, family: str) -> Sequence[str]:
    """Return the names that a family can build; raises `UnknownNameError` for a single model."""
    model: ZooModel = registry.find("model", family)
    if model.variants is None:
        raise UnknownNameError(f"'{family}' is one network, not a family of them.")
    return model.variants()


def load_teacher(registry: Registry, choice: Mapping[str, Any]) -> Teacher:
    """Build the teacher with its weights, in evaluation mode and without gradients.

    The weights are `teacher.weights` (a file, or `random` on purpose), those that
    `teacher.pretrained=true` downloads, those that the zoo ships, or, of a network of the user's
    own, those that it is made with.
    """
    model, _ = find_model(registry, choice["name"])
    own, _ = _split(choice)
    source = own.weights or model.weights
    if source is None and choice.get("pretrained"):
        network, source = _build(registry, choice), "pretrained"
    else:
        network = build_network(registry, choice)
    if source is None and is_own(registry, choice["name"]):
        source = "its own"
    if source is None:
        raise TeacherError(
            f"the teacher '{choice['name']}' has no trained weights: give teacher.weights=FILE"
            + (", or teacher.pretrained=true to download them." if model.variants else ".")
        )
    if source not in ("random", "pretrained", "its own"):
        fit_weights(network, read_weights(Path(source)), source)
    mean, std = _normalisation(model, network, own)
    return Teacher(choice["name"], freeze(network), mean, std, str(source))


def _normalisation(
    model: ZooModel, network: nn.Module, own: _Own
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std: as given, else timm's `pretrained_cfg`, else the zoo's.

    Raises `ConfigError` where none of them says so.
    """
    cfg = pretrained_cfg(network)
    mean = own.mean or cfg.get("mean") or model.mean
    std = own.std or cfg.get("std") or model.std
    if not mean or not std:
        raise ConfigError(
            f"it is not known how '{model.name}' has its images normalised: give teacher.mean and"
            " teacher.std, a number for each channel ([0, 0, 0] and [1, 1, 1] for not at all)."
        )
    if not all(value > 0 for value in std):
        raise ConfigError(f"'teacher.std' is {list(std)}, but every value must be above 0.")
    return tuple(mean), tuple(std)


@dataclass(frozen=True, eq=False)
class InMemoryInputs:
    """A trained network, which stays as it is, how its images are normalised, and maybe the data.

    Without `data` the configuration says what the data is.
    """

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: Dataset | None

    @property
    def name(self) -> str:
        """The teacher's name in configuration and results."""
        return f"{MEMORY}:{type(self.network).__name__}"

    def teacher(self) -> Teacher:
        """Return a frozen copy."""
        network = freeze(copy.deepcopy(self.network).cpu())
        return Teacher(self.name, network, self.mean, self.std, "given")

    def check_portable(self) -> None:
        """Raise `ConfigError` where other processes could not have these objects."""
        main = sys.modules["__main__"]
        kinds = [type(module) for module in self.network.modules()]
        typed_in = [
            k for k in kinds if k.__module__ == "__main__" and not hasattr(main, "__file__")
        ]
        if typed_in:
            raise _not_portable(f"the class {typed_in[0].__name__} is in no file")
        try:
            pickle.dumps(self)
        except Exception as error:  # whatever the objects' own __reduce__ raises
            raise _not_portable(first_line(error)) from error


def _not_portable(reason: Any) -> ConfigError:
    return ConfigError(
        f"network or data cannot be handed to worker processes ({reason}): use workers=1, or put"
        " their classes into a module."
    )


def own_function(name: str, known: Iterable[str]) -> Callable[..., nn.Module]:
    """Return the function that `module:function` names, from the current folder or installed.

    Importing the module runs its code. Raises `UnknownNameError` where there is no such module or
    function, with the nearest of the `known` names, and `TeacherError` where importing it fails.
    """
    path, _, attribute = name.partition(":")
    if path == MEMORY:
        raise UnknownNameError(
            f"the network '{attribute}' was a Python program's own, given to pbkd.compress: in"
            " Python, pbkd.load(FOLDER, make=FUNCTION) loads its student."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(f"{error.name}.")):
            raise UnknownNameError(
                f"'{path}' is neither a model nor a module of Python that can be imported from"
                f" here.{did_you_mean(path, known)}"
            ) from error
        raise _broken(path, error) from error
    except Exception as error:
        raise _broken(path, error) from error
    function: Callable[..., nn.Module] | None = getattr(module, attribute, None)
    if not callable(function):
        raise UnknownNameError(
            f"the module '{path}' has no function '{attribute}'."
            f"{did_you_mean(attribute, [name for name in vars(module) if name[0] != '_'])}"
        )
    return function


def _broken(path: str, error: Exception) -> TeacherError:
    return TeacherError(
        f"the module '{path}' cannot be imported: {type(error).__name__}: {first_line(error)}"
    )
