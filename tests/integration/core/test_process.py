from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys, torch
from pbkd.core.process import keep_freed_memory

def step():
    tensors = [torch.ones(3_000_000) for _ in range(4)]  # 12 MB each
    return sum(float(t[0]) for t in tensors)

if sys.argv[1] == "kept" and not keep_freed_memory():
    print("not glibc")
    sys.exit()
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_steps_that_allocate_the_same_again_do_not_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "kept"], capture_output=True, text=True, check=True
    )
    if done.stdout.strip() == "not glibc":
        pytest.skip("another C library")
    # Ten steps touch 117,000 pages of 4 KiB; a first fit may still reach for new ones once.
    assert int(done.stdout) < 25_000
