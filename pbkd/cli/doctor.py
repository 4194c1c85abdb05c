"""`pbkd doctor`: devices, meters and plugins on this machine."""

from __future__ import annotations

from typing import Any

import typer


def doctor() -> None:
    """Show which devices, energy meters and plugins are usable here, and why others are not."""
    import torch

    from pbkd._version import __version__
    from pbkd.plugin.registry import build_registry

    typer.echo(f"pbkd {__version__}, torch {torch.__version__}")
    for device, reason in _devices().items():
        typer.echo(f"device {device}: {reason or 'usable'}")
    registry = build_registry()
    for name, meter in registry.strategies["meter"].items():
        typer.echo(f"meter {name}: {_fault(meter) or 'usable'}")
    for plugin in registry.plugins.values():
        typer.echo(f"plugin {plugin.name}: usable")
    for broken in registry.broken:
        typer.echo(f"plugin {broken.name} ({broken.origin}): broken: {broken.reason}")


def _fault(meter: Any) -> str | None:
    """Return why a meter with default options cannot be used here; None if it can."""
    from pbkd.energy.sampler import probe
    from pbkd.errors import PLUGIN_FAILURES, one_line

    try:
        return probe(meter())
    except PLUGIN_FAILURES as error:
        return one_line(error)


def _devices() -> dict[str, str | None]:
    """Return all kinds of devices, each with the reason why it cannot be used, or None."""
    import torch

    devices: dict[str, str | None] = {f"cpu ({torch.get_num_threads()} threads)": None}
    for index in range(torch.cuda.device_count()):
        devices[f"cuda:{index} ({torch.cuda.get_device_name(index)})"] = None
    if not torch.cuda.is_available():
        devices["cuda"] = "torch finds no CUDA device"
    if not torch.backends.mps.is_available():
        devices["mps"] = "torch finds no Apple GPU"
    else:
        devices["mps"] = None
    return devices
