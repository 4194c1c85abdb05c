"""Whatever is in a file or an option, pbkd takes it or says what is wrong: nothing else comes out.

1,200 inputs, always the same ones; `tests/soak/fuzz.py` draws more.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbkd import cli
from pbkd.plugin.registry import build_registry
from tests.paths import ROOT
from tests.soak.damage import Outside, mutated
from tests.soak.fuzz import ROUNDS, attempt, corpus, original

if TYPE_CHECKING:
    from collections.abc import Iterator

EACH = settings(
    max_examples=150,
    deadline=5000,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        inside = Path(name) / "inside"  # what is beside it is watched, and nobody else's
        inside.mkdir()
        yield inside


@pytest.mark.parametrize("kind", sorted(ROUNDS))
def test_any_damage_is_a_mistake_that_is_told(kind: str, folder: Path) -> None:
    whole = original(kind)
    told = []

    @EACH
    @given(st.randoms(use_true_random=False))
    def check(random: Random) -> None:
        content = mutated(whole, corpus(kind), random)
        with Outside(folder) as outside:
            told.append(attempt(kind, content, folder))
        assert outside.unchanged(), content

    check()
    assert len(told) >= 150
    assert sum(text is not None for text in told) > 75, "most damage is noticed"
    assert attempt(kind, whole, folder) is None, "what is not damaged is taken"


@pytest.mark.parametrize("kind", ["config", "costs"])
def test_on_the_command_line_damage_is_one_sentence(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verbs = {
        "config": ["run", "--print-config", "--config"],
        "costs": ["plan", "--workers", "2", "--costs"],
    }
    registry = build_registry()
    monkeypatch.setattr("pbkd.plugin.registry.build_registry", lambda _specs=(): registry)
    path = folder / f"{kind}.file"
    codes = []

    @settings(EACH, max_examples=40)
    @given(st.randoms(use_true_random=False))
    def check(random: Random) -> None:
        path.write_bytes(mutated(original(kind), corpus(kind), random))
        monkeypatch.setattr("sys.argv", ["pbkd", *verbs[kind], str(path)])
        code: object = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        error = capsys.readouterr().err
        assert code in (0, 2)
        assert error.count("\n") == (1 if code == 2 else 0), error
        codes.append(code)

    check()
    assert 2 in codes


@pytest.mark.slow
def test_the_soak_runs_as_a_script() -> None:
    script = ["-m", "tests.soak.fuzz", "--inputs", "30"]
    root = ROOT
    done = subprocess.run([sys.executable, *script], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 inputs: ")
