"""Checkpoints of any form for three networks: the right weights, or one sentence."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel

from pbkd.errors import WeightsError
from pbkd.models.teacher_weights import load_weights
from tests.unit.models import checkpoint_forms
from tests.unit.models.checkpoint_forms import (
    FORMS,
    NETWORKS,
    Block,
    Config,
    State,
    oddly_nested,
    others,
    prefixed,
    resnet_like,
    trained,
    vgg_like,
    with_optimiser,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


SILENT = ("plain", "without counters", "profiled", "parameters", "own dictionary")
ROUNDED = {"half": torch.float16, "bfloat16": torch.bfloat16}


def load(content: Any, target: nn.Module, folder: Path) -> tuple[str, ...]:
    torch.save(content, folder / "w.pt")
    return load_weights(target, folder / "w.pt")


def told(content: Any, target: nn.Module, folder: Path) -> str:
    """Return why a checkpoint is refused: one sentence; the network must be as it was."""
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(WeightsError) as caught:
        load(content, target, folder)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert all(torch.equal(before[key], tensor) for key, tensor in target.state_dict().items())
    return text.replace(str(folder / "w.pt"), "w.pt")


def assert_same(source: nn.Module, target: nn.Module) -> None:
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(target.eval()(images), source.eval()(images))


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_any_form_gives_the_right_weights(
    tmp_path: Path, form: str, make: Callable[[], nn.Module]
) -> None:
    source, target = trained(make), make()
    notes = load(FORMS[form](dict(source.state_dict())), target, tmp_path)
    if form in ROUNDED:
        source = source.to(ROUNDED[form]).float()
    assert_same(source, target)
    assert bool(notes) == (form not in SILENT), notes
    assert all(note.endswith(".") for note in notes)


@pytest.mark.parametrize("make", NETWORKS)
def test_what_training_programs_save_themselves_is_loaded(
    tmp_path: Path, make: Callable[[], nn.Module]
) -> None:
    source = trained(make)
    optimiser = with_optimiser(source)
    compiled: Any = torch.compile(source)
    for saved in (
        AveragedModel(source).state_dict(),
        nn.DataParallel(source).state_dict(),
        compiled.state_dict(),
        {"epoch": 1, "model": source.state_dict(), "optimizer": optimiser},
    ):
        target = make()
        load(saved, target, tmp_path)
        assert_same(source, target)
    save_file(prefixed(dict(source.state_dict()), "module."), tmp_path / "model.safetensors")
    target = make()
    load_weights(target, tmp_path)
    assert_same(source, target)


def test_what_was_taken_and_changed_is_said(tmp_path: Path) -> None:
    state, file = dict(trained(resnet_like).state_dict()), tmp_path / "w.pt"
    assert load(FORMS["ema beside"](state), resnet_like(), tmp_path) == (
        f"Of the weights in '{file}', 'state_dict_ema' was taken; 'state_dict' would fit too: to"
        " take another, save it in a file of its own.",
    )
    assert load(FORMS["lightning"](state), resnet_like(), tmp_path) == (
        f"The teacher's weights are 'state_dict' of '{file}'.",
        "In the names of the teacher's weights the prefix 'model.' was removed.",
        f"Of '{file}' was left out: state_dict.loss.weight.",
        f"Not read, since it would run code: {checkpoint_forms.__name__}.Config in '{file}'.",
    )
    assert load(FORMS["half"](state), resnet_like(), tmp_path) == (
        "The teacher's weights were float16 and are used as float32.",
    )


def test_a_prefix_that_only_the_network_has_is_added(tmp_path: Path) -> None:
    source, target = trained(oddly_nested), oddly_nested()
    inside = source.get_submodule("model.net").state_dict()
    notes = load({"state_dict": prefixed(dict(inside), "module.")}, target, tmp_path)
    assert_same(source, target)
    assert notes[1] == (
        "In the names of the teacher's weights the prefix 'module.' was removed and 'model.net.'"
        " was added."
    )


def test_data_parallel_around_a_part_is_unwrapped(tmp_path: Path) -> None:
    source, target = trained(vgg_like), vgg_like()
    state = {
        key.replace("features.", "features.module."): t for key, t in source.state_dict().items()
    }
    notes = load(state, target, tmp_path)
    assert_same(source, target)
    assert any("Parts that wrappers add inside the names" in note for note in notes)


def test_parts_side_by_side_are_joined_or_the_missing_one_is_told(tmp_path: Path) -> None:
    source = trained(resnet_like)
    state = source.state_dict()
    body = {key: tensor for key, tensor in state.items() if not key.startswith("fc")}
    head = {"weight": state["fc.weight"], "bias": state["fc.bias"]}
    for content in (
        {"backbone": body, "fc": head},
        {"net": {"a": body, "b": prefixed(head, "fc.")}},
    ):
        target = resnet_like()
        assert any("side by side were joined" in note for note in load(content, target, tmp_path))
        assert_same(source, target)
    text = told({"backbone": body, "head": {}}, resnet_like(), tmp_path)
    assert text == (
        "'backbone' of 'w.pt' does not fit the network; missing: fc.weight, fc.bias; its keys are"
        " backbone, head."
    )


def test_sets_whose_names_do_not_tell_which_is_meant_are_refused(tmp_path: Path) -> None:
    state = dict(trained(vgg_like).state_dict())
    text = told({"first": state, "second": others(state)}, vgg_like(), tmp_path)
    assert "has 2 sets of weights that fit the network, 'first' and 'second': save the" in text
    text = told({"ema_1": state, "ema_2": others(state), "model": state}, vgg_like(), tmp_path)
    assert "'ema_1' and 'ema_2'" in text
    load({"first": state, "second": copy.deepcopy(state)}, vgg_like(), tmp_path)
    load({"gradients": others(state), "model": state}, target := vgg_like(), tmp_path)
    assert torch.equal(target.state_dict()["classifier.1.bias"], state["classifier.1.bias"])


@pytest.mark.parametrize("style", ["old", "new", "spectral", "new spectral", "pruned"])
def test_weights_in_factors_are_multiplied_out(tmp_path: Path, style: str) -> None:
    source = trained(resnet_like)
    for layer in [m for m in source.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
        if style == "old":
            torch.nn.utils.weight_norm(layer)
        elif style == "new":
            torch.nn.utils.parametrizations.weight_norm(layer)
        elif style == "spectral":
            torch.nn.utils.spectral_norm(layer)
        elif style == "new spectral":
            torch.nn.utils.parametrizations.spectral_norm(layer)
        else:
            prune.random_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
    source.eval()
    target = resnet_like().eval()
    assert "Weights in factors" in " ".join(load(source.state_dict(), target, tmp_path))
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(target(images), source(images))


@pytest.mark.parametrize("old", [True, False])
def test_the_other_style_of_weight_normalisation_is_converted(tmp_path: Path, old: bool) -> None:
    styles: list[Any] = [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm]
    networks = [trained(vgg_like), vgg_like()]
    for style, network in zip(styles if old else styles[::-1], networks, strict=True):
        style(network.get_submodule("classifier.1"))
    load(networks[0].state_dict(), networks[1], tmp_path)
    assert_same(*networks)


def test_a_tied_weight_is_found_under_its_other_name(tmp_path: Path) -> None:
    def make() -> nn.Module:
        layer = nn.Conv2d(1, 1, 3, padding=1)
        return nn.Sequential(layer, nn.ReLU(), layer)

    source, target = trained(make), make()
    load(
        {key: t for key, t in source.state_dict().items() if key.startswith("0")}, target, tmp_path
    )
    assert_same(source, target)


def test_a_head_of_other_classes_is_told_with_the_cure(tmp_path: Path) -> None:
    state = dict(trained(resnet_like).state_dict())
    state |= {"fc.weight": torch.ones(100, 4), "fc.bias": torch.ones(100)}
    assert told({"state_dict": prefixed(state, "module.")}, resnet_like(), tmp_path) == (
        "'state_dict.module' of 'w.pt' does not fit the network; of another shape: fc.weight (100,"
        " 4) instead of (5, 4), fc.bias (100,) instead of (5,): give teacher.num_classes=100, or"
        " build the network so; its keys are state_dict."
    )


def wrong(**changes: Tensor | None) -> State:
    state = {
        **trained(resnet_like).state_dict(),
        **{k.replace("__", "."): t for k, t in changes.items()},
    }
    return {key: tensor for key, tensor in state.items() if tensor is not None}


MISFITS: list[tuple[Any, str]] = [
    (
        {"state_dict": wrong(fc__bias=None)},
        "'state_dict' of 'w.pt' does not fit the network; missing: fc.bias; its keys are",
    ),
    ({"model": wrong(aux__bias=torch.ones(1))}, "not in the network: aux.bias"),
    (wrong(layer1__0__bn1__running_var=None), "missing: layer1.0.bn1.running_var"),
    (
        wrong(stem__weight=torch.ones(4, 3, 3, 3)),
        "stem.weight (4, 3, 3, 3) instead of (4, 1, 3, 3)",
    ),
    (wrong(fc__weight=torch.ones(5, 4, dtype=torch.int8)), "of another type: fc.weight (int8)"),
    (wrong(fc__bias=torch.full((5,), torch.nan)), "'fc.bias' in 'w.pt' holds numbers that are"),
    (
        {"epoch": 3, "args": Config()},
        "'w.pt' holds no state dict (names to tensors) of this network, such as stem.weight,"
        " stem.bias and 14 more; its keys are epoch, args; objects of"
        f" {checkpoint_forms.__name__}.Config are not read.",
    ),
    ([torch.ones(3)], "holds no state dict"),
    (torch.ones(3), "holds no state dict"),
    ("text", "holds no state dict"),
    ({"model": 3}, "holds no state dict"),
    ({0: torch.ones(3)}, "holds no state dict"),
    ({"features.9.weight": torch.ones(3)}, "its keys are features.9.weight."),
    (vgg_like(), "holds a whole network of the type torch.nn.modules.container.Sequential, and"),
    (
        {"epoch": 1, "model": Block()},
        f"a whole network of the type {Block.__module__}.Block, and",
    ),
]


@pytest.mark.parametrize(("content", "said"), MISFITS)
def test_what_does_not_fit_is_told_in_one_sentence(tmp_path: Path, content: Any, said: str) -> None:
    assert said in told(content, resnet_like(), tmp_path)


def test_a_network_without_weights_takes_any_file(tmp_path: Path) -> None:
    assert load({"a": torch.ones(1)}, nn.Sequential(nn.Flatten()), tmp_path) == ()
