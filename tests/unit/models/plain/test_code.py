from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pbkd.data.normalization import Normalization
from pbkd.data.preparation import Preparation
from pbkd.models.plain.code import network_code, own_weights
from pbkd.models.plain.tracing import trace_plain
from pbkd.models.weights import write_weights
from tests.unit.models.plain.networks import NETWORKS

GREY = Preparation(
    channels=1,
    resize=11,
    interpolation="bilinear",
    height=9,
    width=9,
    normalization=Normalization((0.4,), (0.3,)),
)
NAMES = ("a {b}", 'a "quoted"\n"""name', "\udce4rger")


def written(network: nn.Module, folder: Path, suffix: str = ".pth") -> dict[str, Any]:
    """Write a network as code, and run the file as a program would import it."""
    plain = trace_plain(network, GREY.image_shape)
    if suffix == ".pth":
        torch.save(own_weights(plain), folder / "student.pth")
    else:
        write_weights(folder / "student.safetensors", own_weights(plain))
    code = network_code(plain, GREY, NAMES, f"student{suffix}")
    (folder / "student.py").write_text(code)
    return runpy.run_path(str(folder / "student.py"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_code_rebuilds_the_network(name: str, suffix: str, tmp_path: Path) -> None:
    network, images = NETWORKS[name](), torch.randn(3, *GREY.image_shape)
    again = written(network, tmp_path, suffix)["load"]()
    assert not again.training
    torch.testing.assert_close(again(images), network(images), rtol=1e-5, atol=1e-6)


def test_the_code_can_be_read(tmp_path: Path) -> None:
    names = written(NETWORKS["gate"](), tmp_path)
    text = (tmp_path / "student.py").read_text()
    assert "        self._0 = " not in text
    assert (
        "self.layer_0 = nn.Conv2d(in_channels=1, out_channels=4, kernel_size=(3, 3), bias" in text
    )
    assert "        x = self.layer_0(x)\n" in text
    assert "= x * y\n" in text or "= y * x\n" in text
    assert names["CLASS_NAMES"] == list(NAMES)
    assert set(names["load"]().state_dict()) == set(torch.load(tmp_path / "student.pth"))


def test_it_needs_torch_and_pillow_alone(tmp_path: Path) -> None:
    written(NETWORKS["shuffle"](), tmp_path)
    tree = ast.parse((tmp_path / "student.py").read_text())
    imports = {
        str(node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert imports == {"pathlib", "torch", "PIL", "numpy"}


def test_without_class_names(tmp_path: Path) -> None:
    plain = trace_plain(NETWORKS["gate"](), GREY.image_shape)
    (tmp_path / "student.py").write_text(network_code(plain, GREY, None, "student.pth"))
    assert runpy.run_path(str(tmp_path / "student.py"))["CLASS_NAMES"] is None
