"""The documentation says what is so: its commands run, its figures and its tables are true."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import MISSING, Field, dataclass, fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import torchvision
from pbkd_zoo.resnet import resnet20
from PIL import Image
from sklearn.datasets import load_sample_images

from pbkd.config.load import read_yaml
from pbkd.config.options import option_types
from pbkd.config.schema import BudgetConfig, DistillConfig, FineTuneConfig, RunConfig
from pbkd.data.sources import SOURCES
from pbkd.models.weights import write_weights
from pbkd.planning.cluster import Failures, Nodes, read_cluster
from pbkd.planning.cost_files import read_costs
from pbkd.planning.simulation.scaling import SimulatedSchedule, simulate_schedulers
from pbkd.plugin.interfaces import PACKAGES
from pbkd.plugin.reference import hooks_markdown
from pbkd.plugin.registry import PROTOCOLS
from pbkd.report.gantt import duration
from tests.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbkd.plugin.registry import Registry

BIN = Path(sys.executable).parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Followed in an environment with nothing but the wheel, by tests/test_wheel.py.
TUTORIAL = ROOT / "docs" / "write-a-plugin.md"
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A command or a script of a document, with the output that the document shows for it."""

    language: str
    code: str
    output: str | None


def examples(document: Path) -> list[Example]:
    found: list[Example] = []
    for fence in FENCE.finditer(document.read_text()):
        language, code = fence["language"], fence["code"]
        assert language in ("sh", "python", "text"), f"{document.name} has a block of '{language}'"
        if language == "text":
            found[-1] = Example(found[-1].language, found[-1].code, code)
        else:
            found.append(Example(language, code, None))
    return found


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Return a folder with what a reader of the documentation has: a clone, weights, data."""
    for name in ("Makefile", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs" / "clusters", tmp_path / "docs" / "clusters")
    # This environment, which has pbkd, in the place of one that would take minutes to install.
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(BIN)
    for stamp in (".pbkd-run-time", ".pbkd-dev", ".pbkd-dev-full"):
        (tmp_path / ".venv" / stamp).touch()
    torch.manual_seed(0)
    write_weights(tmp_path / "resnet20.safetensors", resnet20().state_dict())
    flowers = torchvision.models.resnet18(num_classes=3)
    torch.save(flowers.state_dict(), tmp_path / "flowers.pt")
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for which, count in (("train", 160), ("test", 40)):
        arrays[f"x_{which}"] = random.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{which}"] = np.arange(count) % 10
    np.savez(tmp_path / "cifar10.npz", **arrays)
    (tmp_path / "photos").mkdir()
    for photo, picture in enumerate(load_sample_images().images):
        for number in range(30):
            top, left = (int(random.integers(side - 160)) for side in picture.shape[:2])
            part = Image.fromarray(picture[top : top + 160, left : left + 160])
            part.save(tmp_path / "photos" / f"{photo}-{number}.png")
    for which in ("train", "val"):
        for kind in ("daisy", "rose", "tulip"):
            folder = tmp_path / "flowers" / which / kind
            folder.mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(256, size=(40, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path


def run(example: Example, desk: Path, environment: dict[str, str]) -> str:
    """Run one example in a folder; return what it printed."""
    if example.language == "python":
        script = re.match(r"# ([\w/-]+\.py)\n", example.code)
        path = desk / (script[1] if script else "example.py")
        path.write_text(example.code)
        command = ["python", str(path)]
    else:
        # The tests are running already: of `make test` only its commands are looked at.
        code = re.sub(r"^make test$", "make --dry-run test", example.code, flags=re.MULTILINE)
        command = ["bash", "-e", "-o", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{example.code}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment_of(*programs: Path) -> dict[str, str]:
    """Return the variables with which the programs of these folders are found first.

    Of a make that runs these tests nothing is handed on to the one in an example.
    """
    outside = {key: text for key, text in os.environ.items() if not key.startswith(("MAKE", "MF"))}
    return {**outside, "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]])}


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the variables with which `pbkd` starts at once, where processes may be forked."""
    if sys.platform != "linux":
        yield environment_of(BIN)
        return
    door = tmp_path_factory.mktemp("warm") / "door"
    programs = ROOT / "tests" / "warm"
    with subprocess.Popen([BIN / "python", programs / "server.py", door]) as server:
        while not door.exists():
            assert server.poll() is None
            time.sleep(0.05)
        yield {**environment_of(programs, BIN), "WARM_PBKD": str(door)}
        server.terminate()


def sizes(output: str) -> list[str]:
    """Return every line of parameters and MACs, of a plan or of a result, without its timings."""
    numbers = r"[\d,]+ to [\d,]+"
    plan = rf"^\S+ +[\dx]+ +[\dx]+ +{numbers} +{numbers}"
    result = r"^(?:parameters|MACs) +[\d,]+ +[\d,]+ +[\d.]+x"
    verdict = r"\d+ of \d+ blocks were replaced, with [\d.]+x fewer parameters and [\d.]+x"
    lines = re.findall(f"{plan}|{result}|{verdict}", output, re.MULTILINE)
    return [" ".join(line.split()) for line in lines]


def accuracies(output: str) -> list[float]:
    """Return the test accuracies, in per cent, of teacher and student."""
    row = re.search(r"^test accuracy +([\d.]+) % +([\d.]+) %", output, re.MULTILINE)
    assert row, output
    return [float(share) for share in row.groups()]


@pytest.mark.timeout(900)  # seconds: on a busy machine the examples take several times as long
@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d != TUTORIAL and examples(d)], ids=named
)
def test_every_example_runs_and_gives_what_the_document_shows(
    document: Path, desk: Path, warm: dict[str, str]
) -> None:
    for example in examples(document):
        output = run(example, desk, warm)
        if example.code == "make test\n":
            tools = [Path(line.split()[0]).name for line in output.splitlines()]
            assert tools == ["make", "ruff", "ruff", "mypy", "pytest"]
        if example.output is not None:
            assert len(sizes(example.output)) > 3
            assert sizes(output) == sizes(example.output)
            # Another processor rounds differently, which may change a few of the 360 answers.
            teacher, student = accuracies(output)
            assert [teacher, student] == pytest.approx(accuracies(example.output), abs=1.0)
            assert student >= teacher - 1.0 >= 96.0
            result = json.loads((desk / "runs" / "latest" / "result.json").read_text())
            replaced = [block for block in result["blocks"] if block["replaced"]]
            for figure in ("parameters", "macs"):
                before = sum(block[f"{figure}_before"] for block in replaced)
                after = sum(block[f"{figure}_after"] for block in replaced)
                assert before >= 4 * after
    if document.name == "zoo.md":
        trained = read_yaml(desk / "trained" / "digits-vgg.yaml")
        shipped = read_yaml(ROOT / "zoo/pbkd_zoo/cards/digits-vgg.yaml")
        assert trained["accuracy"] == pytest.approx(shipped["accuracy"], abs=0.01)
        assert trained["recipe"] == shipped["recipe"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.ipynb")), ids=named)
def test_every_notebook_runs(document: Path, tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs pip install 'pbkd[dev-full]'")
    nbformat = pytest.importorskip("nbformat", reason="needs pip install 'pbkd[dev-full]'")
    notebook = nbformat.read(document, as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "method.svg")
    tags = {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert not tags & {"image", "script", "use", "foreignObject"}
    text = (ROOT / "docs" / "method.svg").read_text()
    assert not re.search(r"url\(|@import|@font-face|href", text)
    assert "prefers-color-scheme: dark" in text


def rows(text: str) -> list[list[str]]:
    """Return the rows of every table, without heads, as cells without backquotes."""
    found = [
        [cell.strip().strip("`") for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = [index for index, row in enumerate(found) if set("".join(row)) <= set("-|")]
    return [r for i, r in enumerate(found) if i not in rules and i + 1 not in rules]


def section_of(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


CONFIG = (ROOT / "docs" / "config.md").read_text()
CLUSTER = (ROOT / "docs" / "cluster.md").read_text()
ZOO = (ROOT / "docs" / "zoo.md").read_text()
TYPES = {
    "bool": "true or false",
    "dict[str, Any]": "choice",
    "float": "number",
    "float | None": "number or null",
    "int": "integer",
    "int | None": "integer or null",
    "int | str": "integer or text",
    "list[Any]": "list",
    "list[str]": "list",
    "str": "text",
}


def shown(value: Any) -> str:
    """Write a default as the documentation does."""
    if isinstance(value, dict):
        return str(value["name"])
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def keys(schema: type, prefix: str = "") -> Iterator[list[str]]:
    """Yield (key, type, default) of a configuration's dataclass."""
    for field in fields(schema):
        if field.type in ("DistillConfig", "FineTuneConfig", "BudgetConfig"):
            yield [prefix + field.name, "section", "see below"]
        else:
            yield [prefix + field.name, TYPES[str(field.type)], shown(default(field))]


def default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


@pytest.mark.parametrize(
    ("heading", "schema", "prefix"),
    [
        ("The run", RunConfig, ""),
        ("`distill`: blockwise training", DistillConfig, "distill."),
        ("`finetune`: fine-tuning the student", FineTuneConfig, "finetune."),
        ("`budget`: limits on the student's cost", BudgetConfig, "budget."),
    ],
)
def test_the_configurations_tables_are_the_code(heading: str, schema: type, prefix: str) -> None:
    section = section_of(CONFIG, heading)
    assert [row[:3] for row in rows(section)] == list(keys(schema, prefix))
    assert all(len(row) == 4 and row[3].endswith(".") for row in rows(section))


def test_every_data_source_is_listed_with_its_options() -> None:
    section = section_of(CONFIG, "`data`")
    found = dict(re.findall(r"^`([\w-]+)`: (.*?)(?=\n`|\Z)", section, re.MULTILINE | re.DOTALL))
    assert list(found) == list(SOURCES)
    for name, source in SOURCES.items():
        wanted = [
            [f"data.{f.name}", "required" if f.default is MISSING else shown(f.default)]
            for f in fields(source)  # type: ignore[arg-type]
        ]
        assert rows(found[name]) == wanted, name


def test_every_option_of_a_built_in_strategy_is_listed(registry: Registry) -> None:
    section = CONFIG.split("\n## Built-in strategies\n")[1]
    wanted = {
        (option if slot == "meter" else f"{slot}.{option}", shown(preset), name)
        for slot, strategies in registry.strategies.items()
        for name, strategy in strategies.items()
        if slot in PROTOCOLS
        for option, (_, preset) in option_types(strategy).items()
    }
    listed = {(key, preset, what.split("`")[0]) for key, preset, what in rows(section)}
    assert listed == wanted


def figures(card: dict[str, Any]) -> list[str]:
    return [
        card["name"],
        f"{card['parameters']:,}",
        f"{card['macs']:,}",
        f"{100 * card['accuracy']['validation']:.2f} %",
        f"{100 * card['accuracy']['test']:.2f} %",
    ]


def test_the_zoos_table_is_the_cards() -> None:
    cards = [read_yaml(path) for path in (ROOT / "zoo").rglob("cards/*.yaml")]
    wanted = [figures(card) for card in cards]
    assert sorted(rows(section_of(ZOO, "Teachers that come with weights"))) == sorted(wanted)


def test_the_zoos_students_are_their_cards() -> None:
    cards = [read_yaml(path) for path in (ROOT / "zoo").rglob("students/*/card.yaml")]
    wanted = [
        [
            *figures(card),
            f"{100 * card['teacher']['accuracy']['test']:.2f} %",
            f"{card['macs'] / card['teacher']['macs']:.2f}",
        ]
        for card in cards
    ]
    assert sorted(rows(section_of(ZOO, "Students that come with weights"))) == sorted(wanted)


@pytest.mark.parametrize(
    ("heading", "kind"), [("`nodes` are", Nodes), ("`failures` may", Failures)]
)
def test_every_key_of_a_cluster_file_is_listed(heading: str, kind: type) -> None:
    section = CLUSTER.split(f"\n{heading}")[1].split("\n\n")[1]
    wanted = [
        [field.name, "required" if field.default is MISSING else shown(field.default)]
        for field in fields(kind)
    ]
    assert [row[:2] for row in rows(section)] == wanted


@pytest.mark.parametrize("cluster", ["nvlink", "ethernet"])
@pytest.mark.parametrize("network", ["vgg16", "resnet50"])
def test_the_tables_of_strong_scaling_are_what_is_simulated(
    registry: Registry, network: str, cluster: str
) -> None:
    folder = ROOT / "docs" / "clusters"
    section = CLUSTER.split(f"`{network}-imagenet.json` on `{cluster}.yaml`")[1].split("\n\n")[1]
    found = simulate_schedulers(
        read_costs(folder / f"{network}-imagenet.json"),
        read_cluster(folder / f"{cluster}.yaml"),
        [1, 2, 4, 8, 16, 32, 64],
        {"pipeline": partial(registry.create, "scheduler", {"name": "pipeline"})},
    )
    wanted = [
        [
            f"{row.workers}",
            duration(row.simulation.seconds),
            f"{row.over_paper:.2f}x",
            f"{row.over_single_pass:.2f}x",
            f"{100 * row.efficiency:.0f} %",
            f"{row.simulation.joules / 1e6:.1f} MJ",
            f"{row.simulation.cost:.2f}",
            row.simulation.limit,
        ]
        for row in found
        if isinstance(row, SimulatedSchedule) and row.simulation.joules is not None
    ]
    assert rows(section) == wanted


def test_every_model_of_the_zoo_is_listed(registry: Registry) -> None:
    table = ZOO.split("\n## ")[0]
    listed = [name.removesuffix(":NAME") for row in rows(table) for name in row[0].split("`, `")]
    assert sorted(listed) == sorted(registry.strategies["model"])


def test_the_reference_of_hooks_is_the_code() -> None:
    assert (ROOT / "docs" / "hooks.md").read_text() == hooks_markdown(
        map(import_module, PACKAGES)
    ), "write it anew: pbkd plugins hooks > docs/hooks.md"


def test_every_fault_is_proved_by_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    faults = rows(section_of(text, "Failures, outcomes, tests"))
    assert len(faults) >= 35
    for fault, _, tests in faults:
        for test in tests.split("`, `"):
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file(), f"{fault}: {test}"
            assert f"def {name}(" in (ROOT / path).read_text(), f"{fault}: {test}"


def test_the_table_of_results_is_its_csv() -> None:
    with (ROOT / "docs" / "results.csv").open() as file:
        runs = list(csv.DictReader(file))
    text = (ROOT / "docs" / "results.md").read_text()

    def percent(run: dict[str, str], key: str) -> str:
        return f"{100 * float(run[key]):.2f} %" if run[key] else "not measured"

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
            *(percent(run, f"{key}_accuracy") for key in ("distillation", "scratch")),
        ]
        for run in runs
    ]
    assert rows(text.split("\n## ")[0]) == wanted
    assert all(f"`{run['command']}`" in text for run in runs)


def test_the_quality_studys_tables_are_its_csv() -> None:
    with (ROOT / "docs" / "quality.csv").open() as file:
        runs = {row["run"]: row for row in csv.DictReader(file)}
    shown = set()
    text = (ROOT / "docs" / "quality.md").read_text()
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *body = ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines())
        for cells in body:
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
