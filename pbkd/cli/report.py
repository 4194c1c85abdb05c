"""`pbkd report`: HTML pages of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pbkd.cli.arguments import read_options
from pbkd.errors import ConfigError

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry
    from pbkd.protocols import ReportSection

Sections = Annotated[
    list[str] | None,
    typer.Option("--section", help="Add this section of an installed plugin. Can be repeated."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        help="An option of a section, such as classes.most_rows=50. Can be repeated.",
        metavar="SECTION.KEY=VALUE",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        help="Load a plugin (name of an installed plugin, module, or .py file) and add its"
        " sections. Can be repeated.",
    ),
]


def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.", metavar="run")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Output file (default: report.html in the run's folder, or for several runs in the"
            " current folder)."
        ),
    ] = None,
    section: Sections = None,
    option: Options = None,
    plugin: Plugins = None,
) -> None:
    """Write an HTML page of a finished run or curve, or a comparison of several.

    The file is self-contained: styles, charts and scripts are embedded.
    """
    from pbkd.core.files import write_file
    from pbkd.report.compare_page import compare_page
    from pbkd.runs.finished import read_finished

    if len(runs) > 1 and (section or option or plugin):
        raise ConfigError("sections of plugins belong to the report of one run: name one run.")
    if len(runs) > 1:
        text = compare_page([read_finished(folder) for folder in runs])
        path = out or Path("report.html")
    else:
        text = _page(runs[0], section or (), option or (), plugin or ())
        path = out or runs[0] / "report.html"
    write_file(path, text.encode(errors="replace"))
    typer.echo(f"written: {path}")


def _page(
    folder: Path, names: Sequence[str], options: Sequence[str], plugins: Sequence[str]
) -> str:
    """Return a run's page; what is damaged, or went wrong in a section, is printed and noted."""
    from pbkd.report.curve_page import curve_page
    from pbkd.runs.curves import is_finished_curve, read_curve

    if is_finished_curve(folder):
        if names or options or plugins:
            raise ConfigError(
                "sections of plugins belong to the report of one run: name a point's folder."
            )
        return curve_page(read_curve(folder))
    from pbkd.plugin.registry import build_registry
    from pbkd.report.plugin_sections import render_sections
    from pbkd.report.report_data import read_report_data
    from pbkd.report.run_page import run_page

    registry = build_registry(plugins)
    sections = _sections(registry, [*_provided(registry, plugins), *names], options)
    data = read_report_data(folder)
    written, faults = render_sections(sections, data)
    data = replace(data, faults=(*data.faults, *faults))
    for fault in data.faults:
        typer.echo(f"pbkd: {fault}", err=True)
    return run_page(data, written)


def _provided(registry: Registry, plugins: Sequence[str]) -> list[str]:
    """Return the sections of the plugins that `--plugin` names; each must have one."""
    names: list[str] = []
    for spec in plugins:
        provided = registry.provided_by(spec).get("section", ())
        if not provided:
            raise ConfigError(f"--plugin {spec} has no section of a report: omit it.")
        names += provided
    return names


def _sections(
    registry: Registry, names: Sequence[str], options: Sequence[str]
) -> list[ReportSection]:
    """Create the sections that every report has, then those of these names."""
    from pbkd.report.plugin_sections import DEFAULT_SECTIONS

    known = registry.strategies["section"]
    chosen = dict.fromkeys([*(name for name in DEFAULT_SECTIONS if name in known), *names])
    choices: dict[str, dict[str, object]] = {name: {"name": name} for name in chosen}
    for key, value in read_options(options).items():
        name, dot, option = key.partition(".")
        if not dot or option == "name" or name not in choices:
            raise ConfigError(
                f"--option {key} is no option of a section in the report: write"
                " SECTION.KEY=VALUE, and name the section by --section."
            )
        choices[name][option] = value
    return [registry.create("section", choice, name) for name, choice in choices.items()]
