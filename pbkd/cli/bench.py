"""`pbkd bench`: the paper's procedures and pbkd's, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pbkd.plugin.registry import Registry


def bench(
    presets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[preset]...", help="vgg16-cifar, resnet50-cifar, resnet56-cifar or digits."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Workers of the parallel procedures.")] = 2,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker.")] = 1,
    rounds: Annotated[int, typer.Option(help="How many times each procedure is timed.")] = 3,
    meter: Annotated[
        list[str] | None,
        typer.Option(help="Energy meter to read; may be given again. Without it: nvml and rapl."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the benchmarks' folders.")] = Path("bench"),
    profile: Annotated[
        bool, typer.Option("--profile", help="Time nothing; profile single-pass instead.")
    ] = False,
) -> None:
    """Time the paper's procedures and pbkd's in turn, on the same kernels.

    Prints a table for each preset. In a new folder it writes speedup.svg, and for each preset
    result.json, procedures.csv and costs.json, which `pbkd plan --costs` reads. With --profile it
    writes profile.txt and trace.json.
    """
    from pbkd.bench.presets import find_preset
    from pbkd.config.schema import RunConfig
    from pbkd.plugin.registry import build_registry
    from pbkd.runs.folder import new_run_folder

    names = list(dict.fromkeys(presets or ["vgg16-cifar"]))
    for name in names:
        find_preset(name)
    folder = new_run_folder(out, names[0] if len(names) == 1 else "bench")
    registry = build_registry()
    if profile:
        _profile(registry, names, folder, threads)
    else:
        how = {"workers": workers, "threads": threads, "rounds": rounds}
        _measure(registry, names, folder, how, meter or RunConfig().meters)
    typer.echo(f"everything is in {folder}")


def _profile(registry: Registry, names: Sequence[str], folder: Path, threads: int) -> None:
    from pbkd.bench.presets import find_preset
    from pbkd.bench.profile import profile_single_pass

    for name in names:
        typer.echo(f"{name}, single-pass:")
        kinds = profile_single_pass(registry, find_preset(name), folder / name, threads)
        for kind, share in kinds.items():
            typer.echo(f"  {kind}: {100 * share:.1f} %")


def _measure(
    registry: Registry,
    names: Sequence[str],
    folder: Path,
    how: Mapping[str, int],
    meters: Sequence[str],
) -> None:
    import shutil

    from pbkd.bench.host import bench as run_bench
    from pbkd.bench.report import plot, show, write
    from pbkd.core.files import write_file

    results = []
    for name in names:
        own = folder / name
        result = run_bench(registry, name, own, **how, meters=meters)
        shutil.rmtree(own / "cache", ignore_errors=True)
        write(result, own)
        typer.echo(f"{name}:")
        show(result)
        results.append(result)
    write_file(folder / "speedup.svg", plot(results).encode())
