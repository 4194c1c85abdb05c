"""What is imported, in fresh processes."""

from __future__ import annotations

import os
import subprocess
import sys


def test_registering_imports_neither_library() -> None:
    program = (
        "import sys, pbkd_zoo; pbkd_zoo.register_models();"
        "print(sorted({'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_predicting_needs_no_torch() -> None:
    modules = "pbkd.cli.plan.command, pbkd.cli.plan.predict, pbkd.planning.cost_files"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
