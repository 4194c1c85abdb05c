"""`pbkd run`: compress a teacher by blockwise distillation."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pbkd.cli.arguments import AsJson, ConfigFile, Overrides, Plugins
from pbkd.cli.stop import say_when_stopped
from pbkd.cli.torchrun import coordinator_role, run_before_restart

if TYPE_CHECKING:
    from pbkd.config.schema import RunConfig
    from pbkd.core.events import Event
    from pbkd.plugin.registry import Registry


_NOTHING_TRAINED = "stopped; nothing was trained"


def run(
    overrides: Overrides = None,
    config: ConfigFile = None,
    plugin: Plugins = None,
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
    from pbkd.config.load import to_yaml
    from pbkd.errors import ConfigError
    from pbkd.runs.folder import is_finished

    if as_json and (plan or print_config or quiet):
        raise ConfigError("--json cannot be combined with --plan, --print-config or --quiet.")
    arguments = [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])]
    if not resume and (begun := run_before_restart(lambda: _out(arguments, config))):
        arguments, config, resume = [str(begun), *arguments], None, True
    with coordinator_role(lambda: _local_run(arguments) if resume else None) as is_coordinator:
        if not is_coordinator:
            return
        folder = _resumed_folder(arguments, config) if resume else None
        if folder and is_finished(folder):
            _say_finished(folder, as_json=as_json)
            return
        settings, registry = _settings(
            arguments, folder / "config.yaml" if folder else config, plugin
        )
        if print_config:
            typer.echo(to_yaml(settings), nl=False)
            return
        run_or_plan(settings, registry, folder, plan=plan, quiet=quiet, as_json=as_json)


def _settings(
    arguments: list[str], config: Path | None, plugin: list[str] | None
) -> tuple[RunConfig, Registry]:
    from pbkd.config.load import load_config
    from pbkd.plugin.registry import build_registry

    specs = plugin or []
    registry = build_registry(specs)
    settings = load_config(arguments, file=config, plugins=registry.provided(specs))
    for spec in settings.plugins:
        registry.provided_by(spec)
    return settings, registry


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
    from pbkd.pipeline.run import run as run_config
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

    def emit(event: Event) -> None:
        if isinstance(event, PlanMade):
            _say_how_to_resume(event.folder)
        show(event)

    with shown(quiet=quiet, as_json=as_json) as show:
        result = run_config(settings, registry, emit, resume=folder)
    if quiet:
        typer.echo(result.folder)


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
    from pbkd.core.events import RunFinished
    from pbkd.report.console.show import shown
    from pbkd.runs.finished import read_finished

    if not as_json:
        typer.echo(f"the run in {folder} is finished; README.md there is the model card")
        return
    with shown(as_json=True) as show:
        show(RunFinished(result=read_finished(folder).result))


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
