"""The files beside the code say the same as pyproject.toml, and the Makefile explains itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml

import pbkd
from tests.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "test.yml"
TARGETS = {"help", "install", "lint", "format", "types", "unit", "test", "slow", "docs", "run"}


def parsed(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def matrix() -> dict[str, list[str]]:
    content = parsed(".github/workflows/test.yml")["jobs"]["unit"]["strategy"]["matrix"]
    assert isinstance(content, dict)
    return content


def test_the_workflow_tests_the_python_versions_of_the_classifiers(
    matrix: dict[str, list[str]],
) -> None:
    prefix = "Programming Language :: Python :: 3."
    minors = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line]
    assert matrix["python"] == [f"3.{minor}" for minor in minors]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"


def test_the_workflow_tests_the_systems_of_the_classifiers(matrix: dict[str, list[str]]) -> None:
    prefix = "Operating System :: "
    systems = [line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line]
    assert systems == ["MacOS", "POSIX :: Linux"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest"]


def test_the_workflow_tests_the_oldest_torch_that_is_allowed(matrix: dict[str, list[str]]) -> None:
    assert matrix["torch"] == ["oldest", "newest"]
    pinned = dict(re.findall(r"(torch|torchvision)==([\d.]+)\.\*", WORKFLOW.read_text()))
    lowest = dict(re.findall(r"(torch|torchvision)>=([\d.]+)", " ".join(PROJECT["dependencies"])))
    assert pinned == lowest
    assert set(pinned) == {"torch", "torchvision"}


def test_no_package_is_required_twice() -> None:
    names = [re.split(r"[<>=\[;]", line)[0] for line in PROJECT["dependencies"]]
    assert len(names) == len(set(names))


def test_every_hook_of_pre_commit_is_local() -> None:
    repositories = parsed(".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    assert [hook["id"] for hook in repositories[0]["hooks"]] == [
        "ruff-check",
        "ruff-format",
        "mypy",
    ]


def test_the_citation_is_of_this_version() -> None:
    citation = parsed("CITATION.cff")
    assert citation["version"] == pbkd.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["references"][0]["url"] == "https://arxiv.org/abs/2012.03096"


@pytest.mark.parametrize("name", ["bug.md", "feature.md"])
def test_an_issue_template_has_a_name_and_a_purpose(name: str) -> None:
    _, head, body = (ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text().split("---\n", 2)
    assert {"name", "about", "labels"} == set(yaml.safe_load(head))
    assert body.strip()


def make(*arguments: str) -> str:
    """Return what `make` prints, without the flags of a `make` that runs these tests."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    variables.pop("ARGS", None)
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=True
    ).stdout


def test_make_help_lists_every_target() -> None:
    for arguments in (["help"], []):
        listed = dict(re.findall(r"^make (\S+) +(.+)$", make(*arguments), re.MULTILINE))
        assert set(listed) == TARGETS
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_make_run_installs_run_time_packages_only() -> None:
    lines = make("--dry-run", "run", "VENV=missing", "ARGS=--help").splitlines()
    (installed,) = (line for line in lines if " pip " in line)
    assert installed.endswith(" --editable .")
    assert lines[-1] == "missing/bin/pbkd run --help"


@pytest.mark.parametrize(
    ("target", "extra"),
    [("lint", "dev"), ("unit", "dev"), ("test", "dev-full"), ("docs", "dev-full")],
)
def test_a_target_installs_its_own_level(target: str, extra: str) -> None:
    lines = make("--dry-run", target, "VENV=missing").splitlines()
    assert next(line.split()[-1] for line in lines if " pip " in line) == f"'.[{extra}]'"


def test_make_test_with_a_path_runs_only_that_path() -> None:
    lines = make("--dry-run", "test", "VENV=missing", "ARGS=tests/unit/core").splitlines()
    assert [line for line in lines if "ruff" in line or "mypy" in line] == []
    assert lines[-1] == "missing/bin/pytest tests/unit/core"
