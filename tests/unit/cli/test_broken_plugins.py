"""Third-party plugins that are broken: listed and reported, with their reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command_line import METER_PLUGIN, SCHEDULER_PLUGIN, Pbkd, mistake


@pytest.fixture(autouse=True)
def _third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install four third-party plugins, three of them broken; the terminal is narrow."""
    monkeypatch.setenv("COLUMNS", "40")
    site = tmp_path / "site"
    site.mkdir()
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
    monkeypatch.syspath_prepend(site)


REASONS = {
    "absent": "ModuleNotFoundError: No module named 'no_such_module'",
    "misspelt": "unknown hook 'register_sheduler'. Did you mean 'register_schedulers'?",
    "taken": "it registers the scheduler 'greedy', a name already taken by 'greedy': choose"
    " another.",
}


def test_broken_plugins_are_listed_with_their_reasons(pbkd: Pbkd) -> None:
    ended = pbkd("plugins", "list")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"broken: {name} (third-party 2.1): {reason}"
        assert any(line.startswith(start) for line in lines)
    assert any(line.split()[:3] == ["greedy", "0.1.0", "pbkd"] for line in lines)
    assert any(
        line.split() == ["wattmeter", "2.1", "third-party", "meter", "wattmeter"] for line in lines
    )


def test_the_doctor_reports_broken_plugins_and_goes_on(pbkd: Pbkd) -> None:
    ended = pbkd("doctor")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    for name, reason in REASONS.items():
        start = f"plugin {name} (third-party 2.1): broken: {reason}"
        assert any(line.startswith(start) for line in lines)
    assert "plugin greedy: usable" in lines
    assert "plugin wattmeter: usable" in lines
    (meter,) = (line for line in lines if line.startswith("meter wattmeter: "))
    assert "'port'" in meter


def test_an_unknown_name_tells_of_broken_plugins(pbkd: Pbkd) -> None:
    told = mistake(pbkd("run", "teacher=absent"))
    assert told.startswith("unknown model 'absent'.")
    for name, reason in REASONS.items():
        assert f"{name} ({reason}" in told
    told = mistake(pbkd("run", "--plugin", "absent"))
    assert told == f"the plugin 'absent' (third-party 2.1) is broken: {REASONS['absent']}"
