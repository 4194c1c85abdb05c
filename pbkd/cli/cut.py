"""`pbkd cut`: which networks can be compressed, tried on them with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pbkd.pipeline.coverage import Coverage

_HEADS = ("network", "cut by", "blocks", "replaced", "MACs", "of the teacher's", "")


def cut(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK... [KEY=VALUE]...",
            help="Networks of the zoo, such as resnet20, timm:convnext_atto or 'timm:regnet*';"
            " keys of a run, such as builder=separable, or candidates for what that leaves alone.",
        ),
    ],
    size: Annotated[int, typer.Option(help="Height and width of the images.", min=1)] = 64,
    markdown: Annotated[Path | None, typer.Option(help="Write the table here, too.")] = None,
) -> None:
    """Try whether networks can be cut, checked, given replacements and trained for one step."""
    from pbkd.config.load import load_config
    from pbkd.pipeline.coverage import cover, matching
    from pbkd.plugin.registry import build_registry
    from pbkd.report.console.display import print_wide

    config = load_config([argument for argument in arguments if "=" in argument])
    registry = build_registry(config.plugins)
    names = [argument for argument in arguments if "=" not in argument]
    found = [cover(registry, name, config, size) for name in matching(registry, names)]
    print_wide(_HEADS, [_cells(one, "cannot be cut") for one in found], left=2)
    if markdown:
        markdown.write_text(_markdown(found))
    failed = [one for one in found if one.failure]
    for one in failed:
        typer.echo(f"{one.name}: {one.failure}")
    typer.echo(f"{len(found) - len(failed)} of {len(found)} networks can be cut")


def _cells(found: Coverage, failure: str) -> list[str]:
    if found.macs_before is None or found.macs_after is None:
        return [found.name, *[""] * 5, failure]
    share = found.macs_after / found.macs_before
    return [
        found.name,
        found.partitioner or "",
        str(found.blocks),
        str(found.replaced),
        f"{found.macs_before:,}",
        f"{share:.2f}" if found.replaced else "",
        "" if found.replaced else "nothing to replace",
    ]


def _markdown(found: list[Coverage]) -> str:
    cells = (_cells(one, one.failure or "") for one in found)
    rows = [_HEADS, ("---",) * len(_HEADS), *cells]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
