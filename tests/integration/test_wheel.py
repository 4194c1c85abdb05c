"""What pip installs is enough: the tutorial for plugin authors, to the letter, beside the wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import astuple
from pathlib import Path

import pytest

from pbkd.config.load import load_config
from tests.docs.documents import TUTORIAL, Example, examples
from tests.docs.shell import environment_of, run_in_shell
from tests.integration.test_layout import PLUGINS, module_of, named, on_demand
from tests.paths import ROOT

pytestmark = pytest.mark.xdist_group("wheel")  # they share a virtual environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a new virtual environment: pbkd from its wheel, all else from this one."""
    wheels = tmp_path_factory.mktemp("wheels")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *build], check=True)
    (wheel,) = wheels.glob("pbkd-*.whl")
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    pip = home / "bin" / "pip"
    pip.write_text(f"#!{home}/bin/python\nfrom pip._internal.cli.main import main\nexit(main())\n")
    pip.chmod(0o755)
    # pip builds the reader's projects with what is here, and asks no index for more.
    offline = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    variables = {**environment_of(home / "bin"), **offline}
    variables.pop("PYTHONPATH", None)
    # Found after the environment's own packages; where a source tree lies, no path here says.
    libraries = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (site,) = home.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text("\n".join(libraries))
    subprocess.run(["pip", "install", "--quiet", str(wheel)], env=variables, check=True)
    return variables


READER = """
import json, os, site, sys, sysconfig
from pathlib import Path

import pbkd
from tests.docs.documents import Example
from tests.docs.shell import run_in_process

told = [sys.prefix, pbkd.__file__]
for example in json.load(sys.stdin):
    site.addsitedir(sysconfig.get_path("purelib"))  # what was installed by an earlier example
    told.append(run_in_process(Example(*example), Path.cwd(), dict(os.environ)))
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(os.getcwd()):
            del sys.modules[name]  # the next example may change it
print(json.dumps(told))
"""
"""Follows the tutorial in one process, because each that imports torch takes seconds."""


@pytest.mark.slow
def test_every_plugin_is_loaded_from_the_wheel(environment: dict[str, str], tmp_path: Path) -> None:
    modules = [module_of(plugin) for plugin in PLUGINS]
    code = f"import sys, {', '.join(modules)}\nprint(sys.prefix)\n" + "".join(
        f"print({module}.__file__)\n" for module in modules
    )
    prefix, *files = run_in_shell(Example("python", code, None), tmp_path, environment).split()
    assert len(files) == len(modules)
    assert all(Path(file).is_relative_to(prefix) for file in files)
    listed = run_in_shell(Example("sh", "pbkd plugins list", None), tmp_path, environment)
    assert "broken" not in listed
    names = {line.split()[0] for line in listed.splitlines() if line.strip()}
    for plugin in PLUGINS:
        assert (named(plugin) in names) != on_demand(plugin), plugin.name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_for_plugin_authors_needs_nothing_but_the_wheel(
    environment: dict[str, str], tmp_path: Path
) -> None:
    desk, reader = tmp_path / "desk", tmp_path / "reader"
    desk.mkdir()
    reader.mkdir()
    (reader / "tests").symlink_to(ROOT / "tests")
    told = subprocess.run(
        [Path(environment["PATH"].split(os.pathsep)[0]) / "python", "-c", READER],
        cwd=desk,
        env={**environment, "PYTHONPATH": str(reader)},
        input=json.dumps([astuple(example) for example in examples(TUTORIAL)]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    prefix, file, *printed = json.loads(told.stdout.splitlines()[-1])
    assert Path(file).is_relative_to(prefix)
    assert Path(prefix) != Path(sys.prefix)

    outputs = dict(zip((example.code for example in examples(TUTORIAL)), printed, strict=True))
    (tested,) = (output for code, output in outputs.items() if "python -m pytest" in code)
    assert "2 passed" in tested
    folder = desk / "runs" / "latest"
    scheduler = load_config(file=folder / "config.yaml").scheduler
    assert scheduler == {"name": "work-sharing", "share": 0.5}
    assert (folder / "result.json").is_file()


RUN = """
pbkd zoo train row --out trained epochs=2
pbkd run teacher=row teacher.weights=trained/row.safetensors partitioner=pairs \
  builder=tucker-energy scheduler=milp-scheduler launcher=spawning workers=2 \
  distill.loss=attention meters=[constant-watts] observers=[epoch-table] \
  distill.epochs=2 distill.student_fed_epochs=1 finetune.epochs=1
"""
LOAD = """
import pbkd

student = pbkd.load("runs/latest/student")
ranks = [tuple(c.weight.shape[:2]) for n, c in student.named_modules() if n.endswith("0.1")]
print(len(ranks), type(student).__name__)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_plugins_of_other_authors_take_part_in_a_run_beside_the_wheel(
    environment: dict[str, str], tmp_path: Path
) -> None:
    projects = sorted(map(str, (ROOT / "tests" / "authors").glob("pbkd-*")))
    subprocess.run(["pip", "install", "--quiet", *projects], env=environment, check=True)
    run_in_shell(Example("sh", RUN, None), tmp_path, environment)
    run_folder = tmp_path / "runs" / "latest"
    result = json.loads((run_folder / "result.json").read_text())
    assert [block["builder"]["name"] for block in result["blocks"] if block["replaced"]]
    phases = {phase["name"]: phase for phase in result["phases"]}
    assert phases["teacher-fed"]["joules"].keys() == {"machine-estimate"}
    table = (run_folder / "epochs.csv").read_text()
    assert table.startswith("start,0")
    assert "fine-tuning,student,1," in table
    assert "\nresult,0." in table
    loaded = run_in_shell(Example("python", LOAD, None), tmp_path, environment)
    assert loaded.strip()
