from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pbkd.core.files import write_json
from pbkd.errors import RunFolderError
from pbkd.models.plain.network_file import read_network, write_network
from pbkd.models.plain.tracing import trace_segments
from tests.unit.models.plain.networks import NETWORKS

SHAPE = (1, 9, 9)


def written(network: nn.Sequential, path: Path) -> None:
    write_network(path, trace_segments(network, SHAPE), network.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_rebuilt_without_its_code(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]()
    written(network, tmp_path / "network.json")
    again = read_network(tmp_path / "network.json", network.state_dict())
    images = torch.randn(3, *SHAPE)
    torch.testing.assert_close(again(images), network(images), rtol=1e-5, atol=1e-6)
    for copied in (copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert torch.equal(copied(images), again(images))
    assert not again.training
    assert set(again.state_dict()) >= {k for k in network.state_dict() if name != "tied"}


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, dict[str, Any], nn.Sequential]:
    network = NETWORKS["gate"]()
    path = tmp_path / "network.json"
    written(network, path)
    return path, json.loads(path.read_text()), network


def _operation(**fields: Any) -> dict[str, Any]:
    base = {"name": "a", "op": "call_function", "target": "torch.relu", "args": [], "kwargs": {}}
    return {**base, **fields}


@pytest.mark.parametrize(
    "operation",
    [
        _operation(target="torch.load", args=["file"]),
        _operation(target="torch.hub.load", args=["owner/name", "model"]),
        _operation(target="os.system", args=["true"]),
        _operation(target="builtins.eval", args=["1"]),
        _operation(target="operator.methodcaller", args=["x"]),
        _operation(target="getattr", args=[{"node": "input_1"}, "__class__"]),
        _operation(op="call_method", target="__reduce__"),
        _operation(op="call_method", target="register_hook"),
        _operation(op="call_method", target="numpy();x"),
        _operation(op="call_module", target="nothing"),
        _operation(op="get_attr", target="__class__"),
        _operation(op="exec", target="x"),
        _operation(name="a = 1; b"),
        _operation(name="import"),
        _operation(args=[{"node": "nowhere"}]),
        _operation(args=[{"code": "1"}]),
        _operation(args=[{"dtype": "load"}]),
        _operation(args=[{"a": 1, "b": 2}]),
        _operation(kwargs={"x=1)#": 1}),
        _operation(op="placeholder", target="x=print(1)"),
        {},
        "x",
    ],
)
def test_what_is_no_operation_is_refused(
    file: tuple[Path, dict[str, Any], nn.Sequential], operation: Any
) -> None:
    path, tree, network = file
    tree["segments"]["1"]["operations"].insert(1, operation)
    write_json(path, tree)
    with pytest.raises(RunFolderError, match="does not describe a network"):
        read_network(path, network.state_dict())


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "Module", "options": {"dict": {"x": 1}}},
        {"type": "Sequential", "options": {"dict": {}}},
        {"type": "Transformer", "options": {"dict": {"num_encoder_layers": 10**9}}},
        {"type": "functional", "options": {"dict": {}}},
        {"type": "Linear", "options": {"dict": {"in_features": 10**12, "out_features": 4}}},
        {"type": "Linear", "options": {"dict": {"in_features": "4"}}},
        {"type": "Linear"},
        [],
    ],
)
def test_what_is_no_layer_of_these_weights_is_refused(
    file: tuple[Path, dict[str, Any], nn.Sequential], layer: Any
) -> None:
    path, tree, network = file
    tree["segments"]["1"]["layers"]["gate"] = layer
    write_json(path, tree)
    with pytest.raises(RunFolderError, match="does not describe a network"):
        read_network(path, network.state_dict())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "segments": 3}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"network.json' (does not|cannot|has no)"):
        read_network(tmp_path / "network.json", {})
