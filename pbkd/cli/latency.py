"""`pbkd latency`: inference time of a student and its teacher on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import Trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pbkd.core.results import Latency
    from pbkd.pipeline.latency import Contender

_HEADS = (
    *("network", "engine", "parameters", "MACs", "batch"),
    *("median ms", "95th percentile", "teacher /"),
)

Engines = Annotated[
    list[str] | None,
    typer.Option(
        help="What executes the networks: torch, onnxruntime or a plugin's; can be repeated.",
        show_default="torch",
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        help="A file of `pbkd export` to time, too, such as an int8 one; can be repeated."
    ),
]


def latency(
    run: Annotated[Path, typer.Argument(help="Folder of a run or a student, or a student's name.")],
    batch: Annotated[
        list[int] | None,
        typer.Option(help="Batch size; can be repeated (default: 1 and 64).", min=1),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="Another network to time, such as timm:mobilenetv3_small_100; can be repeated."
        ),
    ] = None,
    engine: Engines = None,
    file: Files = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads.", show_default="all cores", min=1)
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto (an accelerator, if there is one), cpu, cuda or mps.")
    ] = "auto",
    repeats: Annotated[
        int, typer.Option(help="Forward passes per network and batch size.", min=1)
    ] = 30,
    trust: Trust = None,
) -> None:
    """Measure the inference time of teacher, student and other networks on this device.

    An engine executes its own export of each network. Without --against, the student of a timm
    network is compared with the timm network that is closest in parameters.
    """
    from pbkd.pipeline.latency import contenders, files_by_engine, place_of, timed
    from pbkd.plugin.registry import build_registry
    from pbkd.report.console.display import print_wide
    from pbkd.zoo.store import resolve_student

    registry = build_registry(())
    engines = [registry.create("engine", {"name": name}) for name in engine or ["torch"]]
    place = place_of(device, threads)
    files = files_by_engine(engines, file or (), place.device)
    networks = contenders(resolve_student(run), against, trust or ())
    rows = []
    for one in engines:
        for size in batch or [1, 64]:
            found = timed(networks, one, files[one.name], place, size, repeats)
            rows.extend(_rows(networks, found))
    print_wide(_HEADS, rows, left=2)
    typer.echo(f"measured on {place.device}, with {place.threads} CPU threads")


def _rows(networks: Mapping[str, Contender], found: Mapping[str, Latency]) -> list[list[str]]:
    """Return a row for each network of one engine and batch size; of files, no one knows MACs."""
    teacher = found["teacher"].median_seconds
    rows = []
    for name, passes in found.items():
        known = networks.get(name)
        rows.append([
            name,
            passes.engine,
            f"{known.parameters:,}" if known else "",
            f"{known.macs:,}" if known else "",
            str(passes.batch),
            f"{1000 * passes.median_seconds:.2f}",
            f"{1000 * passes.p95_seconds:.2f}",
            f"{teacher / passes.median_seconds:.2f}x",
        ])  # fmt: skip
    return rows
