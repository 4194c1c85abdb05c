from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from unittest.mock import Mock

import pbkd_openvino
import pytest
from pbkd_openvino import OpenVino, OpenVinoExporter, register_engines, register_exporters

from pbkd.errors import ConfigError, ExportError
from pbkd.testing import check_engine, check_exporter

# A copy of this plugin has other names, but needs the same package.
_PACKAGE = "open_vino".replace("_", "")


def _skip_without_openvino() -> None:
    """Skip without importing it: a plain import forks this process to send its message."""
    if find_spec(_PACKAGE) is None:
        pytest.skip("needs pip install 'pbkd[openvino]'")


@pytest.mark.slow
def test_exporter_and_engine_keep_their_contracts_with_one_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _skip_without_openvino()
    with pbkd_openvino._openvino() as openvino:
        core = Mock(wraps=openvino.Core)
        monkeypatch.setattr(openvino, "Core", core)
    check_exporter(OpenVinoExporter())
    check_engine(OpenVino())
    assert core.call_count <= 1  # a second one may end this process


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, _PACKAGE, None)
    told = r"needs the package openvino: pip install 'pbkd\[openvino\]'\.$"
    with pytest.raises(ExportError, match=told):
        check_exporter(OpenVinoExporter())
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs the package onnxscript: pip install"):
        check_engine(OpenVino())


@pytest.mark.slow
def test_its_import_reports_nothing_to_its_maker_and_leaves_the_converter() -> None:
    _skip_without_openvino()
    script = (
        "import sys, pbkd_openvino\n"
        "with pbkd_openvino._openvino() as found: assert found.Core\n"
        "assert not [name for name in sys.modules if 'telemetry' in name]\n"
        "import importlib.util\n"
        "assert importlib.util.find_spec('openvino.tools.ovc')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_both_are_registered() -> None:
    assert register_exporters() == [OpenVinoExporter]
    assert register_engines() == [OpenVino]
