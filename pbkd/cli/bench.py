"""`pbkd bench`: speed and energy of the paper's procedures and of pbkd's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.plugin.registry import Registry


_WHOLE = "end-to-end"


def bench(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[end-to-end] [preset]...",
            help="vgg16-cifar, resnet50-cifar, resnet50-imagenet, resnet56-cifar or digits; after"
            " `end-to-end`, of whole runs.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Workers (1: no parallel procedures).")] = 2,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker.")] = 1,
    rounds: Annotated[int, typer.Option(help="Number of times that each procedure is timed.")] = 3,
    batch_size: Annotated[int | None, typer.Option(help="Images per batch.")] = None,
    meter: Annotated[
        list[str] | None,
        typer.Option(help="Energy meter to read; can be repeated (default: nvml and rapl)."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder in which a new folder is created for the results.")
    ] = Path("bench"),
    profile: Annotated[
        bool, typer.Option("--profile", help="Profile single-pass instead of timing procedures.")
    ] = False,
) -> None:
    """Time the paper's procedures and pbkd's, on the same kernels.

    Prints a table for each preset and writes speedup.svg, and for each preset result.json,
    procedures.csv and costs.json (for `pbkd plan --costs`). Fails if a procedure did not train
    every block in every step, or if predicted and measured seconds differ by more than a quarter.
    With --profile, writes profile.txt and trace.json.

    `end-to-end` times all phases of whole runs instead, for one worker, for two, and for the
    paper's procedure, with one thread per worker.
    """
    from pbkd.plugin.registry import build_registry
    from pbkd.runs.folder import new_run_folder

    is_whole = (presets or [])[:1] == [_WHOLE]
    names = _known((presets or [])[is_whole:] or ["vgg16-cifar"], batch_size)
    folder = new_run_folder(out, names[0] if len(names) == 1 else "bench")
    registry = build_registry()
    if is_whole:
        _measure_whole_runs(registry, names, folder, rounds)
    elif profile:
        _profile(registry, names, folder, threads, batch_size)
    else:
        _measure(registry, names, folder, (workers, threads, rounds), meter, batch_size)
    typer.echo(f"everything is in {folder}")


def _known(presets: Sequence[str], batch_size: int | None) -> list[str]:
    """Return the presets, each once, before anything is measured."""
    from pbkd.bench.presets import find_preset

    names = list(dict.fromkeys(presets))
    for name in names:
        find_preset(name, batch_size)
    return names


def _profile(
    registry: Registry, names: Sequence[str], folder: Path, threads: int, batch_size: int | None
) -> None:
    from pbkd.bench.presets import find_preset
    from pbkd.bench.profile import profile_single_pass

    for name in names:
        typer.echo(f"{name}, single-pass:")
        preset = find_preset(name, batch_size)
        kinds = profile_single_pass(registry, preset, folder / name, threads)
        for kind, share in kinds.items():
            typer.echo(f"  {kind}: {100 * share:.1f} %")


def _measure_whole_runs(
    registry: Registry, names: Sequence[str], folder: Path, rounds: int
) -> None:
    from pbkd.bench.end_to_end import run_end_to_end
    from pbkd.bench.end_to_end_report import (
        check_whole_predictions,
        show_end_to_end,
        write_end_to_end,
    )
    from pbkd.errors import ConfigError

    if rounds < 1:
        raise ConfigError("a benchmark needs at least 1 round.")
    results = []
    for name in names:
        result = run_end_to_end(registry, name, folder / name, rounds)
        write_end_to_end(result, folder / name)
        typer.echo(f"{name}, whole runs:")
        show_end_to_end(result)
        results.append(result)
    for result in results:
        check_whole_predictions(result)


def _measure(
    registry: Registry,
    names: Sequence[str],
    folder: Path,
    counts: tuple[int, int, int],
    meters: Sequence[str] | None,
    batch_size: int | None,
) -> None:
    """Time the procedures with these numbers of workers, threads and rounds."""
    import shutil

    from pbkd.bench.cross_checks import check_predictions
    from pbkd.bench.host import BenchSettings, run_benchmark
    from pbkd.bench.report import plot, show, write
    from pbkd.config.schema import RunConfig
    from pbkd.core.files import write_file

    settings = BenchSettings(*counts, tuple(meters or RunConfig().meters), batch_size)
    results = []
    for name in names:
        result = run_benchmark(registry, name, folder / name, settings)
        shutil.rmtree(folder / name / "cache", ignore_errors=True)
        write(result, folder / name)
        typer.echo(f"{name}:")
        show(result)
        results.append(result)
    write_file(folder / "speedup.svg", plot(results).encode())
    for result in results:
        check_predictions(result.procedures)
