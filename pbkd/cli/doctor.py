"""`pbkd doctor`: what is usable on this machine, and why the rest is not."""

from __future__ import annotations

from typing import Any

import typer


def doctor() -> None:
    """Say which devices, meters and plugins are usable here, and why not."""
    import torch

    from pbkd._version import __version__
    from pbkd.plugin.registry import build_registry

    typer.echo(f"pbkd {__version__}, torch {torch.__version__}")
    for device, reason in _devices().items():
        typer.echo(f"device {device}: {reason or 'usable'}")
    registry = build_registry()
    for name, meter in registry.strategies["meter"].items():
        typer.echo(f"meter {name}: {_probed(meter) or 'usable'}")
    for plugin in registry.plugins.values():
        typer.echo(f"plugin {plugin.name}: usable")
    for broken in registry.broken:
        typer.echo(f"plugin {broken.name} ({broken.origin}): broken: {broken.reason}")


def _probed(meter: Any) -> str | None:
    """Return why a meter, with its default options, cannot be used here; None where it can."""
    from pbkd.energy.sampler import probe
    from pbkd.errors import PLUGIN_FAILURES, one_line

    try:
        return probe(meter())
    except PLUGIN_FAILURES as error:
        return one_line(error)


def _devices() -> dict[str, str | None]:
    """Return every kind of device, with the reason where it cannot be used."""
    import torch

    found: dict[str, str | None] = {f"cpu ({torch.get_num_threads()} threads)": None}
    for index in range(torch.cuda.device_count()):
        found[f"cuda:{index} ({torch.cuda.get_device_name(index)})"] = None
    if not torch.cuda.is_available():
        found["cuda"] = "torch finds no CUDA device"
    if not torch.backends.mps.is_available():
        found["mps"] = "torch finds no Apple GPU"
    else:
        found["mps"] = None
    return found
