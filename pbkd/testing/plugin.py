"""Conformance tests for everything that a plugin registers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from pbkd.config.options import choice_text, typed_options
from pbkd.errors import PLUGIN_FAILURES, ConfigError, DataError, one_line
from pbkd.plugin.registry import build_registry
from pbkd.plugin.slots import PROTOCOLS
from pbkd.testing.augmentations import check_augmentation
from pbkd.testing.builders import check_builder
from pbkd.testing.data_sources import check_data
from pbkd.testing.engines import check_engine
from pbkd.testing.exporters import check_exporter
from pbkd.testing.launchers import check_launcher
from pbkd.testing.losses import check_loss
from pbkd.testing.meters import check_meter
from pbkd.testing.models import check_model
from pbkd.testing.observers import check_observer
from pbkd.testing.optimisers import check_lr_schedule, check_optimiser
from pbkd.testing.option_values import other_options, unset_option
from pbkd.testing.partitioners import check_partitioner
from pbkd.testing.schedulers import check_scheduler
from pbkd.testing.sections import check_section
from pbkd.testing.selectors import check_selector
from pbkd.testing.time_limit import within
from pbkd.testing.tiny import tiny_teacher
from pbkd.zoo.verify import Check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from pbkd.plugin.registry import Plugin, Registry
    from pbkd.protocols import Partitioner

__all__ = ["check_plugin", "examine"]

_CHECKS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "builder": ("replacements fit, train and share nothing", check_builder),
    "loss": ("a finite mean over the batch that training can lower", check_loss),
    "scheduler": ("schedules are complete, possible and the same again", check_scheduler),
    "meter": ("readings never fall, and it closes", check_meter),
    "launcher": ("every worker works once, and failures are raised", check_launcher),
    "optimiser": ("it trains, and continues from a checkpoint", check_optimiser),
    "lr-schedule": ("factors from 0 to 1 that depend on the step alone", check_lr_schedule),
    "exporter": ("what it writes gives the same outputs when it is read", check_exporter),
    "model": ("the network is built and takes its images", check_model),
    "observer": ("it follows a small run", check_observer),
    "data": ("it loads the same images again", check_data),
    "augmentation": ("images keep shape and type, by the generator alone", check_augmentation),
    "section": ("its content can be shown, and is the same again", check_section),
    "selector": ("selections keep the limits and are the same again", check_selector),
    "engine": ("networks give the same outputs in it", check_engine),
}
_QUICK = (
    *("builder", "loss", "scheduler", "optimiser", "lr-schedule", "augmentation", "selector"),
    "section",
)
LIMIT = 120.0
"""Seconds after which a check is said to hang."""
_CUTS = "the chain is the teacher, which stays unchanged"
_SMALL = ("digits-vgg", "digits-resnet")


def check_plugin(module: object) -> None:
    """Run the conformance tests for the kinds of everything that a plugin registers.

    Args:
        module: The plugin: a module, or an object with hook implementations.

    Raises:
        AssertionError: If a check fails; the message names all failed checks.
        PluginError: If the plugin cannot be registered.
    """
    registry = build_registry()
    failed = [check for check in examine(registry, _plugin(registry, module)) if not _good(check)]
    assert not failed, "; ".join(f"{check.name}: {check.detail}" for check in failed)


def examine(registry: Registry, plugin: Plugin) -> Iterator[Check]:
    """Yield the outcomes of the conformance tests of a registered plugin, one per strategy."""
    for slot, names in plugin.provides.items():
        for name in names:
            yield _examined(registry, plugin, slot, name)


def _good(check: Check) -> bool:
    return check.passed is not False


def _plugin(registry: Registry, module: object) -> Plugin:
    for plugin in registry.plugins.values():
        if registry.module_of(plugin) is module:
            return plugin
    name = getattr(module, "__name__", type(module).__name__)
    return registry.add(name, module, version="", origin=str(getattr(module, "__file__", name)))


def _examined(registry: Registry, plugin: Plugin, slot: str, name: str) -> Check:
    """Check a strategy with its default options, then with others."""
    strategy = registry.strategies[slot][name]
    report = partial(Check, f"{slot} {name}", _CUTS if slot == "partitioner" else _CHECKS[slot][0])
    if slot in PROTOCOLS and (unset := unset_option(strategy)):
        return report(None, f"its option {unset} has no default: call the check in a test")
    others = other_options(strategy) if slot in _QUICK else ()
    for options in ({}, *others):
        choice, given = {"name": name, **options}, choice_text({"name": "", **options})
        try:
            made = registry.create(slot, choice) if slot in PROTOCOLS else strategy
        except PLUGIN_FAILURES as error:
            if options and isinstance(error, ConfigError):
                continue  # it does not take this value
            return report(False, one_line(error))
        passed, detail = _outcome(partial(_check, registry, plugin, slot, made))
        if not passed:
            return report(passed, f"with {given}: {detail}" if given else detail)
    return report(True, "")


def _outcome(check: Callable[[], None]) -> tuple[bool | None, str]:
    """Run a check; return whether it passed (None: it cannot be run), and why not."""
    try:
        within(LIMIT, check)
    except _NotCheckedError as error:
        return None, str(error)
    except AssertionError as error:
        return False, " ".join(str(error).split())
    except TimeoutError as error:
        return False, str(error)
    except PLUGIN_FAILURES as error:
        return False, one_line(error)
    return True, ""


class _NotCheckedError(Exception):
    """A check cannot be run; the message says why and what to do."""


def _check(registry: Registry, plugin: Plugin, slot: str, made: Any) -> None:
    if slot == "data":
        _check_source(made)
    elif slot != "partitioner":
        _CHECKS[slot][1](made)
    elif not _check_cuts(registry, plugin, made):
        raise _NotCheckedError(
            "it accepts no test network: call pbkd.testing.check_partitioner with yours"
        )


def _check_source(source: Any) -> None:
    """Check a source of data, unless its data is not there."""
    try:
        source.load()
    except DataError as error:
        raise _NotCheckedError(f"its data is not there ({one_line(error)})") from error
    check_data(source)


def _check_cuts(registry: Registry, plugin: Plugin, partitioner: Partitioner) -> bool:
    """Check a partitioner on all networks that it accepts; return whether there is one."""
    accepted = False
    for network, images in _networks(registry, plugin):
        if partitioner.accepts(network):
            accepted = True
            check_partitioner(partitioner, network, images)
    return accepted


def _networks(registry: Registry, plugin: Plugin) -> Iterator[tuple[nn.Module, Tensor]]:
    """Yield small networks, then the plugin's own models, each with two images."""
    yield tiny_teacher(), torch.rand(2, 3, 8, 8)
    models = registry.strategies["model"]
    for name in dict.fromkeys([*_SMALL, *plugin.provides.get("model", ())]):
        if name in models and models[name].variants is None:
            shape = models[name].input_shape or (len(models[name].mean), 32, 32)
            options = typed_options(models[name].build, {}, where="teacher")
            yield models[name].build(**options).eval(), torch.rand(2, *shape)
