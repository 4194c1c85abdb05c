"""`pbkd run`: compress a teacher by blockwise distillation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pbkd.cli.arguments import AsJson, ConfigFile, Overrides, Plugins, Trust
from pbkd.cli.stop import say_when_stopped
from pbkd.cli.torchrun import coordinator_role, run_before_restart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.config.schema import RunConfig
    from pbkd.core.curves import CurveResult
    from pbkd.core.events import Emit, Event
    from pbkd.core.results import RunResult
    from pbkd.plugin.registry import Registry


_NOTHING_TRAINED = "stopped; nothing was trained"


def run(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
    trust: Trust = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; the same as seed=N.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and exit.")] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the configuration as YAML and exit.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the run folder.")
    ] = False,
    as_json: AsJson = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the run in the folder that is the next argument, or the newest run. Only"
            " overrides of workers, threads and scheduler are allowed.",
        ),
    ] = False,
) -> None:
    """Compress a teacher by parallel blockwise distillation.

    Without arguments, runs the quickstart: a teacher for handwritten digits from the zoo.
    """
    say_when_stopped("stopped" if resume else _NOTHING_TRAINED)
    from pbkd.errors import ConfigError
    from pbkd.runs.folder import is_finished

    if as_json and (plan or print_config or quiet):
        raise ConfigError("--json cannot be combined with --plan, --print-config or --quiet.")
    arguments = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    if not resume and (begun := run_before_restart(lambda: _out(arguments, config))):
        arguments, config, resume = [str(begun), *arguments], None, True
        trust = [*(trust or []), begun]
    with coordinator_role(lambda: _local_run(arguments) if resume else None) as is_coordinator:
        if not is_coordinator:
            return
        folder = _resumed_folder(arguments, config) if resume else None
        if folder and is_finished(folder):
            _say_finished(folder, as_json=as_json)
            return
        if print_config:
            _print_config(folder, arguments, config, plugin or ())
            return
        settings, registry = _opened(folder, arguments, config, plugin or (), trust or ())
        run_or_plan(settings, registry, folder, plan=plan, quiet=quiet, as_json=as_json)


def _opened(
    folder: Path | None,
    arguments: list[str],
    config: Path | None,
    plugins: Sequence[str],
    trust: Sequence[Path],
) -> tuple[RunConfig, Registry]:
    """Open the run to resume, or the configuration of a new one."""
    from pbkd.pipeline.trust import open_config, open_run

    if folder:
        return open_run(folder, arguments, plugins=plugins, trust=trust)
    return open_config(arguments, file=config, plugins=plugins, trust=trust)


def _print_config(
    folder: Path | None, arguments: list[str], config: Path | None, plugins: Sequence[str]
) -> None:
    """Print the configuration; of all code, only the plugins that were typed are loaded."""
    from pbkd.config.load import load_config, to_yaml
    from pbkd.pipeline.typed_choices import check_strategies
    from pbkd.plugin.registry import build_registry
    from pbkd.plugin.selection import selection_notes
    from pbkd.runs.configuration import configuration_file

    file = configuration_file(folder) if folder else config
    registry = build_registry(plugins)
    provided = registry.provided(plugins)
    settings = load_config(arguments, file=file, plugins=provided)
    check_strategies(settings, registry, is_complete=set(settings.plugins) <= provided.keys())
    for note in (*registry.notes, *selection_notes(provided, settings)):
        typer.echo(note, err=True)
    typer.echo(to_yaml(settings), nl=False)


def run_or_plan(
    settings: Any,
    registry: Any,
    folder: Path | None = None,
    *,
    plan: bool,
    quiet: bool,
    as_json: bool = False,
) -> None:
    """Run, or only print the plan; if it is stopped, say how to resume."""
    from pbkd.core.events import PlanMade
    from pbkd.pipeline.preview import preview_run
    from pbkd.report.console.preview import show_preview
    from pbkd.report.console.show import shown

    if plan:
        seen = preview_run(settings, registry)
        networks = seen.teacher, seen.student
        show_preview(seen.plan, seen.scored, seen.notes, networks, seen.phases)
        return
    if folder is None:
        say_when_stopped(_NOTHING_TRAINED)
    else:
        _say_how_to_resume(str(folder))

    begun = folder

    def emit(event: Event) -> None:
        nonlocal begun
        if isinstance(event, PlanMade):
            _say_how_to_resume(event.folder)
            begun = Path(event.folder)
        show(event)

    try:
        with shown(quiet=quiet, as_json=as_json) as show:
            made = _make(settings, registry, emit, folder)
    except BaseException:
        _say_if_finished(begun)
        raise
    if quiet:
        typer.echo(made.folder)


def _make(
    settings: RunConfig, registry: Registry, emit: Emit, resume: Path | None
) -> RunResult | CurveResult:
    """Make a student, or those of a curve."""
    from pbkd.pipeline.curve import run_curve
    from pbkd.pipeline.run import run as run_config

    if settings.target.curve is None:
        return run_config(settings, registry, emit, resume=resume)
    return run_curve(settings, registry, emit, resume=resume)


def _say_if_finished(folder: Path | None) -> None:
    """Say that nothing is lost if only observers were not waited for."""
    from pbkd.runs.folder import is_finished

    if folder and is_finished(folder):
        say_when_stopped(f"stopped; the run in {folder} is finished")


def _say_how_to_resume(folder: str) -> None:
    command = shlex.join(["pbkd", "run", "--resume", folder])
    say_when_stopped(f"stopped; go on with `{command}`")


def _local_run(arguments: list[str]) -> Path | None:
    """Return the folder of the run to resume; None if it is not on this machine."""
    from pbkd.errors import RunFolderError

    try:
        return _resumed_folder([*arguments], None)
    except RunFolderError:
        return None


def _out(arguments: list[str], config: Path | None) -> Path:
    from pbkd.config.load import load_config
    from pbkd.core.files import user_path

    overrides = [argument for argument in arguments if argument.startswith("out=")]
    return user_path(load_config(overrides, file=config).out)


def _say_finished(folder: Path, *, as_json: bool) -> None:
    from pbkd.report.console.show import shown
    from pbkd.runs.checksums import check_student
    from pbkd.runs.curves import is_finished_curve
    from pbkd.runs.finished import finished_event

    event, has_curve = finished_event(folder), is_finished_curve(folder)
    if not has_curve:
        check_student(folder)
    if not as_json:
        where = "curve.csv has its points" if has_curve else "README.md there is the model card"
        typer.echo(f"the run in {folder} is finished; {where}")
        return
    with shown(as_json=True) as show:
        show(event)


def _resumed_folder(arguments: list[str], config: Path | None) -> Path:
    """Remove the run folder from the arguments, or find the newest run."""
    from pbkd.core.files import user_path
    from pbkd.errors import ConfigError
    from pbkd.runs.folder import newest_run, unfinished_run

    if config is not None:
        raise ConfigError(
            "--config cannot be combined with --resume: a run keeps its configuration."
        )
    if arguments and ("=" not in arguments[0] or user_path(arguments[0]).is_dir()):
        return unfinished_run(user_path(arguments.pop(0)))
    return unfinished_run(newest_run(_out(arguments, None)))
