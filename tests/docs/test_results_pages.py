"""The tables of results are their CSV files."""

from __future__ import annotations

import csv
import re

from pbkd.planning.training_length import TrainingLength, training_length
from pbkd.report.scores import interval_text
from tests.docs.documents import section_of, table_rows
from tests.paths import ROOT


def test_the_table_of_results_is_its_csv() -> None:
    with (ROOT / "docs" / "results.csv").open() as file:
        runs = list(csv.DictReader(file))
    text = (ROOT / "docs" / "results.md").read_text()

    def percent(run: dict[str, str], key: str) -> str:
        return f"{100 * float(run[key]):.2f} %" if run[key] else "not measured"

    def ahead(run: dict[str, str]) -> str:
        if not run["rival"]:
            return "not measured"
        known = run["ahead_of_rival_low"]
        ends = [float(run[f"ahead_of_rival_{end}"]) for end in ("low", "high") if known]
        interval = f" ({interval_text((ends[0], ends[1]))})" if ends else ""
        return f"{100 * float(run['ahead_of_rival']):+.2f}{interval}"

    wanted = [
        [
            run["run"],
            f"{1 / float(run['macs_ratio']):.2f}",
            *(
                percent(run, f"{name}_accuracy")
                for name in ("teacher", "assembled", "recalibrated")
            ),
            percent(run, "student_accuracy"),
            f"{float(run['points_lost']):.2f}",
            *(f"{float(run[f'latency_ratio_batch_{batch}']):.2f}x" for batch in (1, 64)),
            f"{float(run['seconds']) / 60:.0f} min",
            f"{run['rival']} {percent(run, 'rival_score')}" if run["rival"] else "not measured",
            ahead(run),
        ]
        for run in runs
    ]
    assert table_rows(text.split("\n## ")[0]) == wanted
    assert all(f"`{run['command']}`" in text for run in runs)


def test_the_table_of_seeds_is_its_csv() -> None:
    with (ROOT / "docs" / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    lost = [100 * (float(r["teacher_accuracy"]) - float(r["test_accuracy"])) for r in rows]
    leads = [100 * (float(r["test_accuracy"]) - float(r["same_start"])) for r in rows]
    wanted = [
        [
            row["network"],
            row["seed"],
            f"{100 * float(row['test_accuracy']):.2f} %",
            f"{points:.2f} ({row['lost_least']} to {row['lost_most']})",
            f"{100 * float(row['same_start']):.2f} %",
            f"{ahead:+.2f} ({row['ahead_least']} to {row['ahead_most']})",
            f"{row['cpu_seconds']} s",
        ]
        for row, points, ahead in zip(rows, lost, leads, strict=True)
    ]
    assert table_rows(section_of((ROOT / "docs" / "results.md").read_text(), "Seeds")) == wanted
    for row, points, ahead in zip(rows, lost, leads, strict=True):
        assert float(row["lost_least"]) < points < float(row["lost_most"])
        assert float(row["ahead_least"]) < ahead < float(row["ahead_most"])


def test_the_table_of_few_images_is_its_csv() -> None:
    with (ROOT / "docs" / "few-images.csv").open() as file:
        rows = list(csv.DictReader(file))
    teacher = 91.73
    wanted = [
        [
            row["images"],
            row["method"],
            row["steps"],
            f"{float(row['cpu_seconds']):.0f} s",
            f"{100 * float(row['test_accuracy']):.2f} %",
            f"{teacher - 100 * float(row['test_accuracy']):.2f}",
        ]
        for row in rows
    ]
    text = (ROOT / "docs" / "few-images.md").read_text()
    shown = [row for row in table_rows(section_of(text, "How long")) if len(row) > 2]
    assert shown == wanted
    assert f"({teacher} %)" in text
    assert training_length(999, 15, 18, 95_000) == TrainingLength(20, 0)


def test_the_table_of_runs_with_few_images_is_its_csv() -> None:
    with (ROOT / "docs" / "few-images-runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    lost = [float(r["teacher_accuracy"]) - float(r["test_accuracy"]) for r in rows]
    leads = [100 * (float(r["test_accuracy"]) - float(r["same_start"])) for r in rows]
    wanted = [
        [
            row["network"],
            f"{int(row['images']):,}",
            f"{float(row['macs_ratio']):.2f}",
            f"{100 * float(row['test_accuracy']):.2f} %",
            f"{100 * points:.2f} ({row['lost_least']} to {row['lost_most']})",
            f"{float(row['cpu_seconds']):.0f} s",
            f"{100 * float(row['same_start']):.2f} %",
            f"{ahead:+.2f} ({row['ahead_least']} to {row['ahead_most']})",
        ]
        for row, points, ahead in zip(rows, lost, leads, strict=True)
    ]
    text = (ROOT / "docs" / "few-images.md").read_text()
    assert table_rows(section_of(text, "Whole runs")) == wanted
    for row, points, ahead in zip(rows, lost, leads, strict=True):
        assert float(row["lost_least"]) < 100 * points < float(row["lost_most"])
        assert float(row["ahead_least"]) < ahead < float(row["ahead_most"])
        assert f"({100 * float(row['teacher_accuracy']):.2f} %)" in text
        assert f"data.train_limit={row['images']}" in row["command"]


def test_the_quality_studys_tables_are_its_csv() -> None:
    with (ROOT / "docs" / "quality.csv").open() as file:
        runs = {row["run"]: row for row in csv.DictReader(file)}
    shown = set()
    text = (ROOT / "docs" / "quality.md").read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *body = ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines())
        for cells in body if head[0] == "run" else ():
            run = runs[cells[0].strip("`")]
            shown.add(run["run"])
            stage = "fine_tuned" if "fine-tuned" in head else "assembled"
            figures = {
                "MACs": f"{int(run['student_macs']) / int(run['teacher_macs']):.3f}",
                "validation": f"{100 * float(run[f'{stage}_validation']):.2f} %",
                "assembled": f"{100 * float(run['assembled_accuracy']):.2f} %",
                "fine-tuned": f"{100 * float(run['fine_tuned_accuracy'] or 0):.2f} %",
            }
            named = dict(zip(head, cells, strict=True))
            assert {key: named[key] for key in figures if key in named} == {
                key: value for key, value in figures.items() if key in named
            }
    assert shown == set(runs)
    assert all(run["command"].startswith("pbkd run teacher=resnet20 ") for run in runs.values())


def test_the_table_of_seconds_is_its_csv() -> None:
    with (ROOT / "docs" / "seconds.csv").open() as file:
        runs = list(csv.DictReader(file))
    text = section_of((ROOT / "docs" / "quality.md").read_text(), "Accuracy against seconds")

    def row(run: dict[str, str]) -> list[str]:
        accuracies = [
            float(run[f"{which}_accuracy"]) for which in ("teacher", "assembled", "student")
        ]
        blockwise = sum(float(run[f"{fed}_fed_cpu_seconds"]) for fed in ("teacher", "student"))
        seconds = [blockwise, *(float(run[f"{w}cpu_seconds"]) for w in ("fine_tuning_", ""))]
        return [
            run["run"],
            f"{int(run['images']):,}",
            f"{float(run['macs_ratio']):.2f}",
            *(f"{100 * accuracy:.2f} %" for accuracy in accuracies),
            f"{100 * (accuracies[0] - accuracies[2]):.2f}",
            *(f"{cpu:.0f} s" for cpu in seconds),
        ]

    assert table_rows(text) == [row(run) for run in runs]


def test_the_table_of_epochs_is_the_rules() -> None:
    text = section_of((ROOT / "docs" / "quality.md").read_text(), "The rule for epochs")
    for _, *cells in table_rows(text):
        images, *size, fed, tuning = (int(cell.replace(",", "")) for cell in cells)
        assert training_length(images, images // 64, *size) == TrainingLength(fed, tuning)
