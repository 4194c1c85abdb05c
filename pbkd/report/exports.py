"""The exports of a run: a table for terminal, card and report, and CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.report.csv_text import csv_text
from pbkd.report.scores import score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pbkd.core.results import ExportResult, Latency

__all__ = ["export_caption", "export_heads", "export_rows", "exports_csv", "ordered_latencies"]

_CSV_HEADS = (
    *("network", "format", "file", "bytes", "score", "threads"),
    *("batch", "median_seconds", "p95_seconds"),
)


def export_heads(exports: Sequence[ExportResult], score: str) -> tuple[str, ...]:
    """Return the heads for `export_rows`; `score` is the name of the score."""
    batches = sorted({latency.batch for one in exports for latency in one.latencies})
    return ("network", "format", "bytes", score, *(f"ms, batch of {batch}" for batch in batches))


def export_rows(exports: Sequence[ExportResult], images: int | None) -> list[tuple[str, ...]]:
    """Return a row for each export; `images` is the number of test images."""
    return [
        (
            one.network,
            one.format,
            f"{one.bytes:,}",
            score_text(one.score, images),
            *(f"{1000 * latency.median_seconds:.2f}" for latency in ordered_latencies(one)),
        )
        for one in exports
    ]


def export_caption(exports: Sequence[ExportResult]) -> str:
    """Say how the figures of `export_rows` were measured."""
    threads = " or ".join(map(str, sorted({one.threads for one in exports})))
    return (
        f"Exports: milliseconds are medians in the engine of each format, in turn, on the CPU with"
        f" {threads} thread(s); the score of a format that changes the outputs was measured in it,"
        " too."
    )


def exports_csv(exports: Sequence[ExportResult]) -> str:
    """Return the exports as CSV, a row for each batch size; unknown scores are empty."""
    rows = (
        (
            *(one.network, one.format, one.file, one.bytes, one.score, one.threads),
            *(latency.batch, latency.median_seconds, latency.p95_seconds),
        )
        for one in exports
        for latency in ordered_latencies(one)
    )
    return csv_text([_CSV_HEADS, *rows])


def ordered_latencies(one: ExportResult) -> list[Latency]:
    """Return the latencies of an export, from the smallest batch on."""
    return sorted(one.latencies, key=lambda latency: latency.batch)
