"""`pbkd latency`: inference time of a student and its teacher on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import Trust

if TYPE_CHECKING:
    from pbkd.core.results import Latency

_HEADS = ("network", "parameters", "MACs", "batch", "median ms", "95th percentile", "teacher /")


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
    threads: Annotated[
        int | None, typer.Option(help="CPU threads.", show_default="all cores", min=1)
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Forward passes per network and batch size.", min=1)
    ] = 30,
    trust: Trust = None,
) -> None:
    """Measure the inference time of teacher, student and other networks on this device.

    Without --against, the student of a timm network is compared with the timm network that is
    closest in parameters.
    """
    from pbkd.pipeline.latency import contenders, timed
    from pbkd.report.console.display import print_wide
    from pbkd.zoo.store import resolve_student

    networks = contenders(resolve_student(run), against, trust or ())
    rows = []
    for size in batch or [1, 64]:
        found = timed(networks, size, threads, repeats)
        teacher = found["teacher"].median_seconds
        for name, passes in found.items():
            rows.append(_row(name, networks[name].parameters, networks[name].macs, passes, teacher))
    print_wide(_HEADS, rows, left=1)


def _row(name: str, parameters: int, macs: int, passes: Latency, teacher: float) -> list[str]:
    return [
        name,
        f"{parameters:,}",
        f"{macs:,}",
        str(passes.batch),
        f"{1000 * passes.median_seconds:.2f}",
        f"{1000 * passes.p95_seconds:.2f}",
        f"{teacher / passes.median_seconds:.2f}x",
    ]
