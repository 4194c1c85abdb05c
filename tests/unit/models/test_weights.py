from __future__ import annotations

import errno
import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from pbkd.errors import RunFolderError, WeightsError
from pbkd.models.weights import fingerprint, fit_weights, halved, read_weights, write_weights

if TYPE_CHECKING:
    from pathlib import Path


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return list(found) == list(wanted) and all(
        found[key].dtype == wanted[key].dtype and torch.equal(found[key], wanted[key])
        for key in wanted
    )


def test_weights_and_buffers_come_back_bit_by_bit(tmp_path: Path) -> None:
    state = network().state_dict()
    assert state["1.num_batches_tracked"].shape == ()
    write_weights(tmp_path / "w.safetensors", state)
    found = read_weights(tmp_path / "w.safetensors")
    assert same(dict(sorted(found.items())), dict(sorted(state.items())))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3, dtype=torch.int64),
        torch.tensor(0.1),
        torch.empty(0, 3),
        torch.tensor([True, False]),
        torch.randn(3, 4).to(torch.bfloat16),
        torch.randn(4, 3).half(),
        torch.randn(3, 4, dtype=torch.float64),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.arange(256, dtype=torch.uint8),
        torch.randn(3, 4).t(),
        torch.randn(8, 6)[::2, 1::3],
        torch.randn(5, 1).expand(5, 7),
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(2, 3, requires_grad=True),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride()}",
)
def test_any_kind_of_tensor_comes_back(tmp_path: Path, tensor: Tensor) -> None:
    before = tensor.detach().clone()
    write_weights(tmp_path / "w.safetensors", {"x": tensor})
    (found,) = read_weights(tmp_path / "w.safetensors").values()
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert torch.allclose(found, before, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(found.signbit(), before.signbit())
    assert not found.requires_grad


def test_tied_weights_come_back_under_both_names(tmp_path: Path) -> None:
    layer = nn.Linear(3, 3)
    write_weights(tmp_path / "w.safetensors", nn.Sequential(layer, layer).state_dict())
    found = read_weights(tmp_path / "w.safetensors")
    assert torch.equal(found["0.weight"], layer.weight)
    assert torch.equal(found["1.weight"], layer.weight)


def test_a_safetensors_file_that_is_cut_off_or_damaged_is_told(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    write_weights(file, network().state_dict())
    whole = file.read_bytes()
    lengths = [0, 1, 7, 8, 30, len(whole) // 2, len(whole) - 1]
    for content in [*(whole[:length] for length in lengths), b"\xff" * 100, whole + b"x"]:
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"w\.safetensors' is not a whole safetensors file"):
            read_weights(file)
    file.write_bytes(whole)
    assert read_weights(file)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(WeightsError, match="there is no file of weights '"):
            read_weights(path)


@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
def test_weights_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    file = tmp_path / "w.safetensors"
    write_weights(file, {"x": torch.zeros(3)})

    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(failing, fail)
    with pytest.raises(RunFolderError, match="cannot be written: No space left on device"):
        write_weights(file, {"x": torch.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    assert torch.equal(read_weights(file)["x"], torch.zeros(3))


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    write_weights(files[0], network().state_dict())
    write_weights(files[1], network().to(memory_format=torch.channels_last).state_dict())
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert len(digests) == 1


def test_weights_that_fit_are_loaded() -> None:
    source, target = network(), network()
    with torch.no_grad():
        for tensor in source.state_dict().values():
            tensor.add_(1)
    fit_weights(target, source.state_dict(), "there")
    assert same(dict(target.state_dict()), dict(source.state_dict()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"0.weight": None}, "missing: 0.weight."),
        ({"0.weight": None, "3.bias": None}, "missing: 0.weight, 3.bias."),
        ({"fc.bias": torch.zeros(5)}, "not in the network: fc.bias."),
        (
            {"3.weight": torch.zeros(5, 3)},
            "of another shape: 3.weight (5, 3) instead of (5, 16).",
        ),
        ({"1.bias": torch.zeros(())}, "of another shape: 1.bias () instead of (4,)."),
        (
            {"3.bias": None, "fc.bias": torch.zeros(5), "0.bias": torch.zeros(9)},
            "missing: 3.bias; not in the network: fc.bias; of another shape: 0.bias (9,) instead of"
            " (4,).",
        ),
    ],
)
def test_weights_of_another_network_are_told_by_name_and_shape(
    change: dict[str, Tensor | None], told: str
) -> None:
    target = network()
    before = fingerprint(target)
    weights = {**target.state_dict(), **change}
    given = {key: tensor for key, tensor in weights.items() if tensor is not None}
    with pytest.raises(WeightsError) as caught:
        fit_weights(target, given, "there")
    assert str(caught.value) == f"'there' does not fit the network; {told}"
    assert fingerprint(target) == before


def test_only_the_first_of_many_names_are_told() -> None:
    with pytest.raises(WeightsError) as caught:
        fit_weights(network(), {}, "there")
    assert str(caught.value).endswith("missing: 0.weight, 0.bias, 1.weight and 5 more.")


def test_old_files_without_the_count_of_batches_fit() -> None:
    target = network()
    target[1](torch.zeros(2, 4, 1, 1))
    weights = {k: v + 1 for k, v in target.state_dict().items() if "num_batches" not in k}
    fit_weights(target, weights, "there")
    assert torch.equal(target.state_dict()["0.weight"], weights["0.weight"])
    assert target.state_dict()["1.num_batches_tracked"] == 1


def test_halved_weights_fit_the_network_they_came_from() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    exact = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_weights(network, halved(exact), "here")
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == exact[name].dtype
        torch.testing.assert_close(tensor, exact[name], rtol=2**-11, atol=0)


def test_numbers_too_large_for_half_precision_are_told() -> None:
    with pytest.raises(WeightsError, match="'b' holds numbers too large for half precision"):
        halved({"a": torch.ones(2), "b": torch.tensor([1e5])})
