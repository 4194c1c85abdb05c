"""A student in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import torch

from tests.unit.models.test_student import saved_student

if TYPE_CHECKING:
    from pathlib import Path

    from pbkd.plugin.registry import Registry
    from pbkd.training.task import DistillationTask


def test_a_student_loads_in_a_fresh_process_with_the_same_logits(
    digits: DistillationTask, registry: Registry, tmp_path: Path
) -> None:
    student = saved_student(digits, registry, tmp_path)
    with torch.no_grad():
        expected = student(digits.images)
    torch.save({"images": digits.images, "logits": expected}, tmp_path / "expected.pt")
    script = (
        "import sys, torch, pickle, pbkd\n"
        "torch.set_num_threads(1)\n"
        "e = torch.load(sys.argv[1] + '/expected.pt', weights_only=True)\n"
        "def refuse(*a, **k): raise AssertionError('pickle was used')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "s = pbkd.load(sys.argv[1])\n"
        "assert not s.training\n"
        "images = e['images'].to(memory_format=torch.channels_last)\n"
        "print(torch.equal(s(images), e['logits']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
