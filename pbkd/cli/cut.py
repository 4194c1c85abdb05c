"""`pbkd cut`: test which networks can be compressed, with random weights."""

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
            help="Networks of the zoo, such as resnet20, timm:convnext_atto or 'timm:regnet*', and"
            " configuration overrides, such as builder=separable or candidates=[...].",
        ),
    ],
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width of the images.", min=1, show_default="the network's own, or 64"
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write the table to this Markdown file.")
    ] = None,
) -> None:
    """Test whether networks can be partitioned, get replacements, and train for one step."""
    from pbkd.config.load import load_config
    from pbkd.core.files import write_file
    from pbkd.pipeline.coverage import cover, matching
    from pbkd.pipeline.typed_choices import check_strategies
    from pbkd.plugin.registry import build_registry
    from pbkd.report.console.display import print_wide
    from pbkd.report.markdown import markdown_table

    config = load_config([argument for argument in arguments if "=" in argument])
    names = [argument for argument in arguments if "=" not in argument]
    registry = build_registry(config.plugins, functions=names)
    check_strategies(config, registry)
    rows = [cover(registry, name, config, size) for name in matching(registry, names)]
    print_wide(_HEADS, [_cells(row, "cannot be cut") for row in rows], left=2)
    if markdown:
        cells = [_cells(row, row.failure or "") for row in rows]
        write_file(markdown, f"{markdown_table(_HEADS, cells)}\n".encode())
    failed = [row for row in rows if row.failure]
    for row in failed:
        typer.echo(f"{row.name}: {row.failure}")
    typer.echo(f"{len(rows) - len(failed)} of {len(rows)} networks can be cut")


def _cells(row: Coverage, failure: str) -> list[str]:
    if row.macs_before is None or row.macs_after is None:
        return [row.name, *[""] * 5, failure]
    share = row.macs_after / row.macs_before
    return [
        row.name,
        row.partitioner or "",
        str(row.blocks),
        str(row.replaced),
        f"{row.macs_before:,}",
        f"{share:.2f}" if row.replaced else "",
        "" if row.replaced else "nothing to replace",
    ]
