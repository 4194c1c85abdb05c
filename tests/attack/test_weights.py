"""Hostile files of weights: each is refused in one sentence, or gives the right numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pbkd_zoo
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import pbkd
from pbkd.errors import PbkdError, WeightsError
from pbkd.models.teacher_weights import load_weights
from pbkd.models.weights import fingerprint, read_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Change = "Callable[[Tensor], Tensor]"
SHIPPED = Path(pbkd_zoo.__file__).parent / "students" / "digits-vgg-small"


def filled(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[-1] = value
        return tensor

    return change


@pytest.fixture
def student(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "student"))


def name_of(weights: Mapping[str, Tensor], end: str) -> str:
    return next(name for name in weights if name.endswith(end))


def refusal(student: Path) -> str:
    with pytest.raises(PbkdError) as caught:
        pbkd.load(student)
    told = str(caught.value)
    assert "\n" not in told
    assert str(student / "model.safetensors") in told
    return told


@pytest.mark.parametrize(
    ("end", "change", "told"),
    [
        (".weight", filled(float("nan")), "infinite or no numbers"),
        (".bias", filled(float("inf")), "infinite or no numbers"),
        (".running_mean", filled(float("-inf")), "infinite or no numbers"),
        (".running_var", filled(float("nan")), "infinite or no numbers"),
        (".running_var", filled(-1e-3), "negative variances"),
        (".num_batches_tracked", filled(-1), "a negative count of batches"),
        (".weight", Tensor.double, "float64 instead of float32"),
        (".weight", Tensor.bfloat16, "bfloat16 instead of float32"),
        (".bias", Tensor.int, "int32 instead of float32"),
        (".bias", Tensor.bool, "bool instead of float32"),
        (".weight", lambda t: t.to(torch.complex64), "complex64 instead of float32"),
        (".weight", lambda t: t.to(torch.float8_e4m3fn), "float8_e4m3fn instead of float32"),
        (".num_batches_tracked", Tensor.float, "float32 instead of int64"),
        (".weight", lambda t: t[:0], "of another shape"),
        (".weight", lambda t: t[None], "of another shape"),
        (".bias", lambda t: t[:1], "of another shape"),
    ],
)
def test_weights_that_no_training_gives_are_refused_by_name(
    student: Path, end: str, change: Callable[[Tensor], Tensor], told: str
) -> None:
    path = student / "model.safetensors"
    weights = {name: tensor.clone() for name, tensor in read_weights(path).items()}
    weights = {n: t.float() if t.dtype == torch.float16 else t for n, t in weights.items()}
    name = name_of(weights, end)
    write_weights(path, {**weights, name: change(weights[name])})
    said = refusal(student)
    assert told in said
    assert name in said


def test_a_student_whose_weights_have_no_checksum_is_refused(student: Path) -> None:
    path = student / "model.safetensors"
    weights = read_weights(path)
    for metadata in (None, {}, {"format": "pt"}, {"sha256": ""}, {"SHA256": "0" * 64}):
        save_file(weights, path, metadata)
        refusal(student)


def test_weights_too_many_or_too_few_are_refused(student: Path) -> None:
    path = student / "model.safetensors"
    weights = read_weights(path)
    name = name_of(weights, ".weight")
    write_weights(path, {**weights, "another": weights[name]})
    assert "not in the network: another" in refusal(student)
    write_weights(path, {key: weights[key] for key in weights if key != name})
    assert f"missing: {name}" in refusal(student)
    write_weights(path, {})
    assert "missing" in refusal(student)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
         "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
         "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"__metadata__": {"sha256": 3}},
        [],
        "many",
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(student: Path, header: object) -> None:
    if header == "many":
        empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
        header = {f"{n:0>90}": empty for n in range(80_000)}
    text = json.dumps(header).encode()
    (student / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 12)
    refusal(student)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("0.weight", float("nan"), "infinite or no numbers"),
        ("3.bias", float("-inf"), "infinite or no numbers"),
        ("1.running_var", -0.5, "negative variances"),
    ],
)
def test_a_teachers_weights_that_no_training_gives_are_refused_by_name(
    tmp_path: Path, suffix: str, name: str, value: float, told: str
) -> None:
    state = network().state_dict()
    filled(value)(state[name])
    path = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    with pytest.raises(WeightsError, match=told) as caught:
        load_weights(network(), path)
    assert str(caught.value).startswith(f"'{name}' in '{path}'")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_teachers_weights_of_other_types_are_used_as_float32_with_a_note(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    state = {
        n: t.to(dtype) if t.is_floating_point() else t for n, t in network().state_dict().items()
    }
    torch.save(state, tmp_path / "w.pth")
    target = network()
    (note,) = load_weights(target, tmp_path / "w.pth")
    assert f"were {str(dtype).removeprefix('torch.')} and are used as float32" in note
    assert torch.equal(target.state_dict()["0.weight"], state["0.weight"].float())


def test_numbers_that_do_not_fit_into_the_networks_type_are_refused(tmp_path: Path) -> None:
    state = network().double().state_dict()
    state["3.weight"][0, 0] = 1e300
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"'3\.weight' in .* infinite or no numbers"):
        load_weights(network(), tmp_path / "w.pth")


def test_tensors_that_share_or_overlap_in_storage_are_read_as_what_they_hold(
    tmp_path: Path,
) -> None:
    state = network().state_dict()
    flat = torch.arange(200.0)
    state["3.weight"] = flat.as_strided((5, 16), (3, 1), 7)  # rows overlap
    state["3.bias"] = flat[7:12]
    state["0.bias"] = torch.tensor(2.5).expand(4)
    torch.save(state, tmp_path / "w.pth")
    target = network()
    load_weights(target, tmp_path / "w.pth")
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_one_tensor_with_two_different_values_is_refused(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        layer = nn.Linear(4, 4)
        return nn.Sequential(layer, nn.ReLU(), layer)

    path = tmp_path / "w.pth"
    state = {name: tensor.clone() for name, tensor in tied().state_dict().items()}
    torch.save(state, path)
    load_weights(tied(), path)
    state["0.weight"][0, 0] += 1
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"one tensor .* with different values: 0\.weight"):
        load_weights(tied(), path)


def test_counters_that_count_nothing_are_left_out(tmp_path: Path) -> None:
    for count in (torch.tensor(-1), torch.tensor(float("nan")), torch.tensor(0.5)):
        torch.save({**network().state_dict(), "1.num_batches_tracked": count}, tmp_path / "w.pth")
        target = network()
        load_weights(target, tmp_path / "w.pth")
        assert target.state_dict()["1.num_batches_tracked"] == 0


def test_tensors_of_no_elements_are_loaded(tmp_path: Path) -> None:
    class Empty(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.none = nn.Parameter(torch.empty(0, 3))
            self.layer = nn.Linear(2, 2)

    torch.save(Empty().state_dict(), tmp_path / "w.pth")
    load_weights(Empty(), tmp_path / "w.pth")
    write_weights(tmp_path / "w.safetensors", Empty().state_dict())
    load_weights(Empty(), tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_a_teacher_in_memory_with_nan_is_refused_by_name(name: str) -> None:
    teacher = network()
    filled(float("nan"))(teacher.state_dict()[name])
    with pytest.raises(WeightsError, match=f"'{name}' of the teacher holds numbers that are"):
        pbkd.compress(teacher, "digits", mean=[0.5], std=[0.5])


def test_weights_do_not_change_when_their_file_does(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, network().state_dict())
    loaded = read_weights(path)
    with path.open("r+b") as file:
        file.seek(-64, 2)
        file.write(b"\xff" * 64)
    assert all(torch.equal(t, loaded[n]) for n, t in network().state_dict().items())
    with pytest.raises(WeightsError, match="its checksum does not hold"):
        read_weights(path)


def test_the_shipped_students_load(student: Path) -> None:
    assert fingerprint(pbkd.load(student)) == fingerprint(pbkd.load(SHIPPED))
