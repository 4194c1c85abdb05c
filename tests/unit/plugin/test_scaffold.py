from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pbkd.errors import ConfigError
from pbkd.plugin.registry import build_registry, load_plugin
from pbkd.plugin.scaffold import KINDS, new_plugin
from pbkd.plugin.slots import PROTOCOLS, SLOTS
from pbkd.testing import examine

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry


@pytest.mark.parametrize(("kind", "slot"), [(kind, slot) for kind, (slot, _) in KINDS.items()])
def test_a_new_plugin_registers_its_name_and_nothing_of_its_originals(
    registry: Registry, tmp_path: Path, kind: str, slot: str
) -> None:
    folder = new_plugin(registry, kind, f"my-{kind}", tmp_path)
    module = folder / f"pbkd_my_{kind.replace('-', '_')}.py"
    assert {path.name for path in folder.iterdir()} == {
        module.name, f"test_{module.name}", "README.md", "pyproject.toml",
    }  # fmt: skip
    fresh = build_registry([str(module)])
    assert fresh.provided_by(str(module)) == {slot: (f"my-{kind}",)}
    strategy = fresh.find(slot, f"my-{kind}")
    if slot in PROTOCOLS:
        assert strategy.__name__ == f"My{kind.title().replace('-', '')}"
    if slot in PROTOCOLS and KINDS[kind][1]:
        original = fresh.find(slot, KINDS[kind][1]).__name__
        assert not re.search(rf"\b{original}\b", module.read_text())
    assert "PBKD_CONTRACT = 2\n" in module.read_text()


def test_there_is_a_kind_for_every_slot() -> None:
    assert sorted(slot for slot, _ in KINDS.values()) == sorted(SLOTS)


@pytest.mark.parametrize("kind", ["observer", "data", "lr-schedule", "section"])
def test_a_new_plugin_passes_the_tests_of_its_kind(
    registry: Registry, tmp_path: Path, kind: str
) -> None:
    new_plugin(registry, kind, "mine", tmp_path)
    fresh = build_registry()
    (check,) = examine(fresh, load_plugin(fresh, str(tmp_path / "pbkd-mine" / "pbkd_mine.py")))
    assert check.passed, check.detail


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("sheduler", "mine", "unknown kind of plugin 'sheduler'. Did you mean 'scheduler'?"),
        ("scheduler", "Mine", "'Mine' is not a valid plugin name: use lower-case letters"),
        ("scheduler", "../mine", "'../mine' is not a valid plugin name"),
        ("scheduler", "greedy", "the name 'greedy' is already used by the plugin 'greedy'"),
        ("meter", "zoo", "the name 'zoo' is already used by the plugin 'zoo'"),
        ("scheduler", "there", "pbkd-there' already exists: choose another name."),
    ],
)
def test_what_cannot_be_made_is_told_and_writes_nothing(
    registry: Registry, tmp_path: Path, kind: str, name: str, told: str
) -> None:
    (tmp_path / "pbkd-there").mkdir()
    with pytest.raises(ConfigError) as caught:
        new_plugin(registry, kind, name, tmp_path)
    assert told in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["pbkd-there"]


def test_a_name_that_a_class_has_already_gets_its_kind_behind_it(
    registry: Registry, tmp_path: Path
) -> None:
    folder = new_plugin(registry, "meter", "energy-meter", tmp_path)
    assert "\nclass EnergyMeterMeter:\n" in (folder / "pbkd_energy_meter.py").read_text()
