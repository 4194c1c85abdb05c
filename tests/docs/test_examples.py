"""The documents' commands and scripts run, and give what the document shows."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from pbkd_zoo.resnet import resnet20
from PIL import Image

from pbkd.config.yaml_files import read_yaml
from pbkd.models.weights import write_weights
from tests.docs.documents import DOCUMENTS, MACHINES, TUTORIAL, Example, examples, relative_name
from tests.docs.shell import BIN, environment_of, run_in_process
from tests.made_once import made_once
from tests.paths import ROOT


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """Return a folder with what a reader of the documentation has: a clone, weights, data."""
    for name in ("Makefile", "pyproject.toml", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "docs" / "clusters", tmp_path / "docs" / "clusters")
    # This environment, which has pbkd, in the place of one that would take minutes to install.
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(BIN)
    for stamp in re.findall(r"\.pbkd-[\w-]+", (ROOT / "Makefile").read_text()):
        (tmp_path / ".venv" / stamp).touch()
    shutil.copytree(made_once(tmp_path_factory, "own", _own_files), tmp_path, dirs_exist_ok=True)
    return tmp_path


def _own_files(folder: Path) -> None:
    """Write the weights and images that a reader has."""
    from sklearn.datasets import load_sample_images

    torch.manual_seed(0)
    write_weights(folder / "resnet20.safetensors", resnet20().state_dict())
    flowers = torchvision.models.resnet18(num_classes=3)
    torch.save(flowers.state_dict(), folder / "flowers.pt")
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for which, count in (("train", 160), ("test", 40)):
        arrays[f"x_{which}"] = random.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        arrays[f"y_{which}"] = np.arange(count) % 10
    np.savez(folder / "cifar10.npz", **arrays)
    (folder / "photos").mkdir()
    for photo, picture in enumerate(load_sample_images().images):
        for number in range(30):
            top, left = (int(random.integers(side - 160)) for side in picture.shape[:2])
            part = Image.fromarray(picture[top : top + 160, left : left + 160])
            part.save(folder / "photos" / f"{photo}-{number}.png")
    for which in ("train", "val"):
        for kind in ("daisy", "rose", "tulip"):
            kept = folder / "flowers" / which / kind
            kept.mkdir(parents=True)
            for number in range(8):
                pixels = random.integers(256, size=(40, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(kept / f"{number}.png")


# Pages whose examples take long.
SLOW = {
    "cluster.md",
    "compare.md",
    "config.md",
    "own.md",
    "reliability.md",
    "report.md",
    "student.md",
    "zoo.md",
}


@pytest.fixture
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a tenth of the steps in examples that run in this process, where they leave it open."""
    monkeypatch.setattr("pbkd.planning.training_length._SCALE", 80)
    monkeypatch.setattr("pbkd.planning.training_length._LEAST_STEPS", (20, 5))
    monkeypatch.setattr("pbkd.planning.training_length._FEW_STEPS", 30)


@pytest.fixture
def _modules_of_the_desk(desk: Path) -> Iterator[None]:
    """Forget what examples import, so that those of another document find their own."""
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(desk)):
            del sys.modules[name]


def sizes(output: str) -> list[str]:
    """Return every line of parameters and MACs, of a plan or of a result, without its timings."""
    numbers = r"[\d,]+ to [\d,]+"
    plan = rf"^\S+ +[\dx]+ +[\dx]+ +{numbers} +{numbers}"
    result = r"^(?:parameters|MACs) +[\d,]+ +[\d,]+ +[\d.]+x"
    verdict = (
        r"\d+ of \d+ blocks were replaced: the student has [\d.]+x fewer parameters and [\d.]+x"
    )
    lines = re.findall(f"{plan}|{result}|{verdict}", output, re.MULTILINE)
    return [" ".join(line.split()) for line in lines]


def outputs(steps: Sequence[Example], desk: Path) -> Iterator[tuple[Example, str]]:
    """Run examples; yield each with what it printed."""
    # The zoo's cards were made with one thread; more of them give weights of other bits.
    environment = {**environment_of(BIN), "OMP_NUM_THREADS": "1"}
    for example in steps:
        yield example, run_in_process(example, desk, environment)


def shortened(example: Example) -> Example:
    """Let `make run` train for a few epochs, which change no size and no line of the plan."""
    arguments = "ARGS='distill.epochs=2 distill.student_fed_epochs=1 finetune.epochs=2'"
    return replace(example, code=re.sub(r"^make run$", f"make run {arguments}", example.code))


@pytest.mark.timeout(900)  # seconds: on a busy machine the examples take several times as long
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(d, marks=[pytest.mark.slow] if d.name in SLOW else [])
        for d in DOCUMENTS
        if d not in (TUTORIAL, MACHINES) and examples(d)
    ],
    ids=relative_name,
)
@pytest.mark.usefixtures("_modules_of_the_desk", "_short_training")
def test_every_example_runs_and_gives_what_the_document_shows(document: Path, desk: Path) -> None:
    for example, output in outputs(list(map(shortened, examples(document))), desk):
        if example.code == "make test\n":
            tools = [Path(line.split()[0]).name for line in output.splitlines()]
            assert [tool for tool in tools if tool != "make"] == ["ruff", "ruff", "mypy", "pytest"]
        if example.output is not None:
            assert len(sizes(example.output)) > 3
            assert sizes(output) == sizes(example.output)
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
