"""What a run is told: one typed tree, strict, from defaults, a YAML file and `key=value`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pbkd.errors import ConfigError, did_you_mean
from pbkd.options import first_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pbkd.registry import Registry

__all__ = [
    "DistillConfig",
    "FineTuneConfig",
    "RunConfig",
    "load_config",
    "merge_layer",
    "read_overrides",
    "read_yaml",
    "to_yaml",
]

_CHOICES = ("teacher", "data", "partitioner", "builder", "scheduler", "launcher", "model")

_DEVICES = ("auto", "cpu", "cuda", "mps")
_ABOVE_ZERO = 1e-12

C = TypeVar("C")


def _choice(name: str) -> Any:
    return field(default_factory=lambda: {"name": name})


@dataclass
class DistillConfig:
    """The blockwise phases: every replacement trained alone against its block of the teacher."""

    epochs: int | None = None
    """Teacher-fed epochs; null: as many as make about 600 steps, at least one."""
    student_fed_epochs: int | None = None
    """Student-fed epochs after that; null: about 300 steps, at least one."""
    loss: str = "nmse"
    """nmse, nmse-per-sample, mse or cosine."""
    lr: float = 0.003
    """Peak learning rate of AdamW; a short linear warm-up, then a cosine to zero."""
    weight_decay: float = 0.0


@dataclass
class FineTuneConfig:
    """The last phase: the whole student, against labels and the teacher's soft targets."""

    epochs: int | None = None
    """Epochs; null: as many as make about 600 steps, at least one; 0: none."""
    lr: float = 0.001
    weight_decay: float = 0.0005
    temperature: float = 4.0
    soft_weight: float = 0.9
    """Share of the soft-target loss; the rest is cross-entropy with the labels."""


@dataclass
class RunConfig:
    """A run. The first six are choices: a registered name and that strategy's own options."""

    teacher: dict[str, Any] = _choice("digits-vgg")
    data: dict[str, Any] = _choice("digits")
    partitioner: dict[str, Any] = _choice("auto")
    builder: dict[str, Any] = _choice("separable")
    scheduler: dict[str, Any] = _choice("greedy")
    launcher: dict[str, Any] = _choice("local")
    meters: list[Any] = field(default_factory=lambda: ["nvml", "rapl"])
    plugins: list[str] = field(default_factory=list)
    """Plugins beside the installed ones: modules or .py files."""
    keep: list[str] = field(default_factory=lambda: ["stem*", "head*"])
    """Segments that stay the teacher's; shell-style patterns."""
    workers: int = 1
    threads: int | None = None
    """CPU threads of each worker; null: an equal share of the cores."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    batch_size: int = 64
    seed: int = 0
    distill: DistillConfig = field(default_factory=DistillConfig)
    max_drop: float = 0.15
    """Keep the teacher's block where its replacement, swapped in alone, loses more accuracy."""
    recalibrate_batches: int = 16
    """Batches to recalibrate BatchNorm on, kept only if the validation split gains; 0: never."""
    finetune: FineTuneConfig = field(default_factory=FineTuneConfig)
    out: str = "runs"
    """Folder that gets this run's folder."""


def load_config(
    overrides: Sequence[str] = (),
    *,
    file: Path | None = None,
    plugins: Sequence[str] = (),
    registry: Registry | None = None,
) -> RunConfig:
    """Return the configuration: defaults, then the file, then plugins' strategies, then overrides.

    A choice may be given as a bare name (`scheduler=greedy`) or by its parts (`scheduler.name`).
    `plugins` are selected: each strategy they register takes its slot (this needs `registry`).
    Raises `ConfigError` for anything that is unknown, ill-typed or out of range.
    """
    layers = [read_yaml(file)] if file else []
    given = read_overrides(overrides)
    if plugins and registry:
        layers.append(_selected(plugins, registry, given))
    config = RunConfig()
    for layer in (*layers, given):
        config = merge_layer(config, layer)
    config.plugins = [*config.plugins, *(spec for spec in plugins if spec not in config.plugins)]
    _check_ranges(config)
    return config


def to_yaml(config: object) -> str:
    """Return the whole configuration as YAML; `load_config(file=...)` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML mapping; raises `ConfigError`."""
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file '{file}'.") from error
    except Exception as error:
        raise ConfigError(f"'{file}' is not a YAML configuration: {first_line(error)}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"'{file}' must hold a mapping of keys to values.")
    return cast("dict[str, Any]", loaded)


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs into one tree; raises `ConfigError`."""
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{override}' is not an override: write key=value.")
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
        except Exception as error:
            raise ConfigError(f"'{override}' cannot be read: {first_line(error)}") from error
        _graft(tree, _expanded(cast("dict[str, Any]", parsed)))
    return tree


def _graft(tree: dict[str, Any], branch: Mapping[str, Any]) -> None:
    for key, value in branch.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _graft(tree[key], value)
        else:
            tree[key] = value


def _expanded(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Write a choice given as a bare name as a mapping."""
    return {
        key: {"name": value} if key in _CHOICES and not isinstance(value, dict) else value
        for key, value in tree.items()
    }


def _selected(
    plugins: Sequence[str], registry: Registry, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the layer in which the strategies of `plugins` take their slots."""
    layer: dict[str, Any] = {}
    takers: dict[str, str] = {}
    for spec in plugins:
        for slot, names in registry.provided_by(spec).items():
            if slot == "meter":
                layer["meters"] = [*layer.get("meters", RunConfig().meters), *names]
            elif slot in _CHOICES and "name" not in given.get(slot, {}):
                for name in names:
                    taker = f"'{name}' of {spec}"
                    if slot in takers:
                        raise ConfigError(
                            f"{takers[slot]} and {taker} both claim the slot '{slot}': choose"
                            f" with {slot}=NAME."
                        )
                    takers[slot], layer[slot] = taker, {"name": name}
    return layer


def merge_layer(config: C, layer: Mapping[str, Any]) -> C:
    """Return a configuration (a dataclass) with a layer of values put over it.

    Raises `ConfigError` for a key it does not have or a value of the wrong type.
    """
    expanded = _expanded(layer)
    _check_keys(type(config), expanded, ())
    base = OmegaConf.structured(config)
    for key in _CHOICES:
        name = expanded[key].get("name") if key in expanded else None
        if name is not None and name != base[key].get("name"):
            base[key] = {}  # another strategy does not inherit this one's options
    try:
        merged = OmegaConf.merge(base, OmegaConf.create(expanded))
        return cast("C", OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(f"'{error.full_key}': {first_line(error)}") from error


def _check_keys(schema: type, tree: Mapping[str, Any], path: tuple[str, ...]) -> None:
    known = {f.name: f.default_factory for f in fields(schema)}
    for key, value in tree.items():
        where = ".".join((*path, str(key)))
        if key not in known:
            raise ConfigError(f"unknown key '{where}'.{did_you_mean(str(key), known)}")
        nested = known[key]
        if isinstance(nested, type) and is_dataclass(nested) and isinstance(value, dict):
            _check_keys(nested, value, (*path, str(key)))


def _check_ranges(config: RunConfig) -> None:
    bounds: dict[str, tuple[float, float]] = {
        "workers": (1, math.inf),
        "threads": (1, math.inf),
        "batch_size": (2, math.inf),  # BatchNorm needs two
        "max_drop": (0, 1),
        "recalibrate_batches": (0, math.inf),
        "distill.epochs": (1, math.inf),
        "distill.student_fed_epochs": (0, math.inf),
        "distill.lr": (_ABOVE_ZERO, math.inf),
        "distill.weight_decay": (0, math.inf),
        "finetune.epochs": (0, math.inf),
        "finetune.lr": (_ABOVE_ZERO, math.inf),
        "finetune.weight_decay": (0, math.inf),
        "finetune.temperature": (_ABOVE_ZERO, math.inf),
        "finetune.soft_weight": (0, 1),
    }
    for key, (low, high) in bounds.items():
        value = attrgetter(key)(config)
        if value is not None and not low <= value <= high:
            least = "above 0" if low == _ABOVE_ZERO else f"at least {low}"
            wanted = least if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"'{key}' is {value}, but must be {wanted}.")
    if config.device not in _DEVICES:
        wanted = ", ".join(_DEVICES)
        raise ConfigError(f"'device' is '{config.device}', but must be one of {wanted}.")
