"""Conformance tests for everything that a plugin registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from omegaconf import MISSING

from pbkd.config.options import option_types, typed_options
from pbkd.errors import PLUGIN_FAILURES, one_line
from pbkd.plugin.registry import build_registry
from pbkd.plugin.slots import PROTOCOLS
from pbkd.testing.builders import check_builder
from pbkd.testing.exporters import check_exporter
from pbkd.testing.launchers import check_launcher
from pbkd.testing.losses import check_loss
from pbkd.testing.meters import check_meter
from pbkd.testing.models import check_model
from pbkd.testing.optimisers import check_lr_schedule, check_optimiser
from pbkd.testing.partitioners import check_partitioner
from pbkd.testing.schedulers import check_scheduler
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
}
_MADE: tuple[str, Callable[[Any], None]] = (
    "it is made with its default options",
    lambda _made: None,
)
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
    what = _CUTS if slot == "partitioner" else _CHECKS.get(slot, _MADE)[0]
    subject = f"{slot} {name}"
    strategy = registry.strategies[slot][name]
    if slot in PROTOCOLS and (unset := _unset(strategy)):
        detail = f"its option {unset} has no default: call the check in a test"
        return Check(subject, what, None, detail)
    try:
        made = registry.create(slot, {"name": name}) if slot in PROTOCOLS else strategy
        if slot != "partitioner":
            _CHECKS.get(slot, _MADE)[1](made)
        elif not _check_cuts(registry, plugin, made):
            detail = "it accepts no test network: call pbkd.testing.check_partitioner with yours"
            return Check(subject, what, None, detail)
    except AssertionError as error:
        return Check(subject, what, False, " ".join(str(error).split()))
    except PLUGIN_FAILURES as error:
        return Check(subject, what, False, one_line(error))
    return Check(subject, what, True, "")


def _unset(strategy: type) -> str | None:
    """Return the first option without a default, if any."""
    defaults = ((name, default) for name, (_, default) in option_types(strategy).items())
    return next((name for name, default in defaults if default == MISSING), None)


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
