"""`pbkd bench`: the paper's procedures and pbkd's, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench(
    preset: Annotated[
        str, typer.Argument(help="vgg16-cifar, resnet50-cifar, resnet56-cifar or digits.")
    ] = "vgg16-cifar",
    workers: Annotated[int, typer.Option(help="Workers of the parallel procedures.")] = 2,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker.")] = 1,
    rounds: Annotated[int, typer.Option(help="How many times each procedure is timed.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for the benchmarks' folders.")] = Path("bench"),
) -> None:
    """Time the paper's procedures and pbkd's in turn, on the same kernels.

    Writes result.json, procedures.csv and speedup.svg; prints the table.
    """
    import shutil

    from pbkd.bench.host import bench as run_bench
    from pbkd.bench.report import show, write
    from pbkd.journal import new_run_folder
    from pbkd.registry import build_registry

    folder = new_run_folder(out, preset)
    registry = build_registry()
    result = run_bench(registry, preset, folder, workers=workers, threads=threads, rounds=rounds)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    write(result, folder)
    show(result)
    typer.echo(f"everything is in {folder}")
