"""The process that runs parts, and reports on each in a line of JSON on its standard output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.gpu.parts import PARTS, Card, Outcome, Part, ShortfallError

__all__ = ["facts", "run_part"]

_IDLE_SECONDS = 2.0


def run_part(part: Part, card: Card) -> Outcome:
    """Run a part; raise what it raises."""
    module, _, name = part.function.partition(":")
    function: Callable[[Card], Outcome] = getattr(import_module(f"tests.gpu.{module}"), name)
    return function(card)


def facts() -> dict[str, Any]:
    """Describe the card and the versions, without waking the card."""
    idle = _idle_watts()
    import torch

    found: dict[str, Any] = {
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "idle_watts": idle,
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "card": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return found


def _idle_watts() -> float | None:
    """Return the power of the first GPU while nothing runs on it."""
    from pbkd.energy.monitor import IDLE, monitor_energy
    from pbkd.plugin.registry import build_registry

    with monitor_energy([build_registry().create("meter", {"name": "nvml"})]) as monitor:
        monitor.measure_idle()
    idle = monitor.windows.get(IDLE)
    joules = (idle.joules or {}).get("gpu0") if idle else None
    return None if idle is None or joules is None else joules / idle.seconds


def _attempt(part: Part, card: Card) -> dict[str, Any]:
    if part.needs_gpu and not card.is_gpu:
        return {"state": "skipped", "line": "it needs a GPU"}
    try:
        outcome = run_part(part, card)
    except ShortfallError as error:
        return {"state": "short", "line": str(error)}
    except Exception as error:  # the other parts go on
        traceback.print_exc()
        return {"state": "failed", "line": f"{type(error).__name__}: {error}".splitlines()[0]}
    return {"state": "passed", **asdict(outcome)}


def main() -> None:
    """Run the parts that the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("parts", nargs="+")
    arguments = parser.parse_args()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the parts print goes to the log

    def say(**entry: Any) -> None:
        print(json.dumps(entry), file=report, flush=True)

    known = facts()
    say(facts=known)
    card = Card(known["device"], arguments.work, arguments.out, known["idle_watts"])
    for part in PARTS:
        if part.name in arguments.parts:
            say(begin=part.name)
            start = time.perf_counter()
            found = _attempt(part, card)
            say(end=part.name, seconds=time.perf_counter() - start, **found)


if __name__ == "__main__":
    main()
