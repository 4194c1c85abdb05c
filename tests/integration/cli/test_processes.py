"""The command line in processes of its own: imports, exit codes, broken plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.command_line import METER_PLUGIN, SCHEDULER_PLUGIN, Ended, mistake


def in_a_process(code: str, *arguments: str, path: Path | None = None) -> Ended:
    """Run Python code in a fresh process, with `path` before everything that is installed."""
    environment = {**os.environ, "COLUMNS": "40"}
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


MAIN = "from pbkd.cli import main\nmain()"


@pytest.mark.parametrize(
    "verb",
    [
        [], ["run"], ["zoo"], ["zoo", "train"], ["zoo", "add"], ["plugins"], ["doctor"],
        ["compare"], ["baseline"],
    ],
)  # fmt: skip
def test_help_imports_nothing_that_is_slow(verb: list[str]) -> None:
    code = dedent("""
        import sys
        from pbkd.cli import main
        try:
            main()
        finally:
            slow = {"torch", "torchvision", "timm", "sklearn", "numpy", "omegaconf", "pluggy"}
            print(sorted(slow & sys.modules.keys()), file=sys.stderr)
    """)
    ended = in_a_process(code, *verb, "--help")
    assert ended.code == 0
    assert f"Usage: {' '.join(['pbkd', *verb])} " in ended.out
    assert ended.err == "[]\n"


def test_a_mistake_is_told_the_same_way_in_a_process_of_its_own() -> None:
    ended = in_a_process(MAIN, "run", "worker=2")
    assert mistake(ended).startswith("unknown key 'worker'. Did you mean 'workers'?")
    assert "Traceback" not in ended.err


@pytest.fixture(scope="module")
def sick_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which four third-party plugins are installed, three of them broken."""
    site = tmp_path_factory.mktemp("site")
    sources = {
        "absent": "import no_such_module\n",
        "misspelt": SCHEDULER_PLUGIN.replace("register_schedulers", "register_sheduler"),
        "taken": SCHEDULER_PLUGIN.replace('"mine"', '"greedy"'),
        "wattmeter": METER_PLUGIN,
    }
    info = site / "third_party-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 2.1\n")
    points = [f"{name} = third_party_{name}" for name in sources]
    (info / "entry_points.txt").write_text("\n".join(["[pbkd]", *points, ""]))
    for name, source in sources.items():
        (site / f"third_party_{name}.py").write_text(source)
    return site


REASONS = {
    "absent": "ModuleNotFoundError: No module named 'no_such_module'",
    "misspelt": "PluginValidationError: unknown hook 'register_sheduler' in plugin",
    "taken": "it registers the scheduler 'greedy', a name already taken by 'greedy'.",
}


def test_broken_plugins_are_listed_with_their_reasons(sick_site: Path) -> None:
    ended = in_a_process(MAIN, "plugins", "list", path=sick_site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"broken: {name} (third-party 2.1): {reason}"
        assert any(line.startswith(start) for line in lines)
    assert any(line.split()[:3] == ["greedy", "0.1.0", "pbkd"] for line in lines)
    assert any(
        line.split() == ["wattmeter", "2.1", "third-party", "meter", "wattmeter"] for line in lines
    )


def test_the_doctor_reports_broken_plugins_and_goes_on(sick_site: Path) -> None:
    ended = in_a_process(MAIN, "doctor", path=sick_site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"plugin {name} (third-party 2.1): broken: {reason}"
        assert any(line.startswith(start) for line in lines)
    assert "plugin greedy: usable" in lines
    assert "plugin wattmeter: usable" in lines
    (meter,) = (line for line in lines if line.startswith("meter wattmeter: "))
    assert "'port'" in meter


def test_an_unknown_name_tells_of_broken_plugins(sick_site: Path) -> None:
    told = mistake(in_a_process(MAIN, "run", "teacher=absent", path=sick_site))
    assert told.startswith("unknown model 'absent'.")
    for name, reason in REASONS.items():
        assert f"{name} ({reason}" in told
    told = mistake(in_a_process(MAIN, "run", "--plugin", "absent", path=sick_site))
    assert told == f"the plugin 'absent' (third-party 2.1) is broken: {REASONS['absent']}"
