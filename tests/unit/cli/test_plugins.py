"""`pbkd plugins` and `pbkd doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

from tests.command_line import METER_PLUGIN, PLUGIN_HEAD, SCHEDULER_PLUGIN, Pbkd, mistake


def test_the_plugins_are_listed(pbkd: Pbkd, registry: Registry) -> None:
    head, *rows = pbkd("plugins", "list").out.splitlines()
    assert head.split() == ["plugin", "version", "from", "provides"]
    assert [row.split()[0] for row in rows] == list(registry.plugins)
    greedy = next(row for row in rows if row.startswith("greedy"))
    assert greedy.split() == ["greedy", "0.1.0", "pbkd", "scheduler", "greedy"]


def test_a_plugin_is_shown_with_its_options(pbkd: Pbkd) -> None:
    Path("mine.py").write_text(SCHEDULER_PLUGIN + METER_PLUGIN.removeprefix(PLUGIN_HEAD))
    assert pbkd("plugins", "show", "mine.py").out.splitlines() == [
        "plugin: mine.py",
        "version: none, it is not installed",
        f"from: {Path('mine.py').resolve()}",
        "contract: not stated",
        "scheduler mine",
        "  scheduler.seed: int = 0",
        "meter wattmeter",
        "  port: str, required",
    ]
    head, *lines = pbkd("plugins", "show", "low-rank").out.splitlines()
    assert (head, *lines[:3]) == (
        "plugin: low-rank", "version: 0.1.0", "from: pbkd 0.1.0", "contract: 2",
    )  # fmt: skip
    assert lines[3].startswith("builder low-rank: Replace every dense k x k convolution of a block")
    assert "  builder.share: float = 0.24" in lines
    for plugin, option in [
        ("lr-schedules", "distill.schedule.warmup: float = 0.05"),
        ("sgd", "distill.optimiser.momentum: float = 0.9"),
        ("crop-flip", "augmentation.crop: int = 4"),
    ]:
        assert f"  {option}" in pbkd("plugins", "show", plugin).out.splitlines()
    assert "  teacher.width: float = 1.0" in pbkd("plugins", "show", "zoo").out.splitlines()
    assert mistake(pbkd("plugins", "show", "gredy")).startswith("there is no plugin 'gredy': ")


def test_a_plugin_is_checked_with_a_line_for_each_thing_it_registers(pbkd: Pbkd) -> None:
    assert pbkd("plugins", "new", "mine", "--kind", "scheduler").out.splitlines() == [
        "pbkd-mine: created as a copy of 'round-robin'",
        "install it with: pip install --editable pbkd-mine",
    ]
    ended = pbkd("plugins", "check", "pbkd-mine")
    assert (ended.code, ended.err) == (0, "")
    head, *lines = ended.out.splitlines()
    assert head.split() == ["registered", "check", "result"]
    assert [(line.split()[:2], line.split()[-1]) for line in lines] == [
        (["scheduler", "mine"], "ok")
    ]
    assert [path.name for path in Path.cwd().iterdir()] == ["pbkd-mine"]


def test_options_that_are_not_checked_are_told(pbkd: Pbkd) -> None:
    typed = SCHEDULER_PLUGIN.replace("seed: int = 0", "seed: int = 0\n    pause: 'Seconds' = None")
    Path("mine.py").write_text(typed)
    reason = "its annotation Seconds cannot be resolved (name 'Seconds' is not defined)"
    assert pbkd("plugins", "show", "mine.py").out.splitlines()[-2:] == [
        "  scheduler.seed: int = 0",
        f"  scheduler.pause: not checked, since {reason} = None",
    ]
    row = " ".join(pbkd("plugins", "check", "mine.py").out.splitlines()[-1].split())
    assert row == f"scheduler mine options are checked not checked: option 'pause': {reason}"


def test_a_plugin_that_breaks_its_contract_is_exit_code_1_with_the_reason(pbkd: Pbkd) -> None:
    Path("sick.py").write_text(SCHEDULER_PLUGIN + METER_PLUGIN.removeprefix(PLUGIN_HEAD))
    ended = pbkd("plugins", "check", "sick.py")
    assert (ended.code, ended.err) == (1, "")
    scheduler, meter = (" ".join(line.split()) for line in ended.out.splitlines()[1:])
    assert scheduler.startswith("scheduler mine schedules are complete")
    assert scheduler.endswith("FAILED: NotImplementedError")
    assert "meter wattmeter" in meter
    assert "not checked: its option port has no default" in meter
    Path("old.py").write_text(f"PBKD_CONTRACT = 0\n{SCHEDULER_PLUGIN}")
    ended = pbkd("plugins", "check", "old.py")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith(
        "old.py: FAILED: the plugin 'old.py' is broken: 'old.py' is written"
    )
    assert ended.out.count("\n") == 1


def test_the_doctor_says_what_is_usable_and_why_the_rest_is_not(
    pbkd: Pbkd, registry: Registry
) -> None:
    first, *lines = pbkd("doctor").out.splitlines()
    assert first.startswith("pbkd 0.1.0, torch ")
    assert any(line.startswith("device cpu (") and line.endswith(": usable") for line in lines)
    for device in ("cuda", "mps"):
        assert any(line.startswith(f"device {device}") for line in lines)
    for kind, names in (("meter", registry.strategies["meter"]), ("plugin", registry.plugins)):
        for name in names:
            (line,) = (line for line in lines if line.startswith(f"{kind} {name}: "))
            assert not line.endswith(": ")
