from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from pbkd.models.teacher import build_network
from pbkd.plugin.registry import Registry
from pbkd.zoo.add import add_student
from pbkd.zoo.card import Card
from pbkd.zoo.listing import HEADS, Row, catalogue, cells, data_label


def listed(registry: Registry) -> dict[str, dict[str, str]]:
    rows = [dict(zip(HEADS, cells(row), strict=True)) for row in catalogue(registry)]
    return {row["model"]: row for row in rows}


def test_every_model_and_student_is_listed_with_what_is_known(
    registry: Registry, finished: Path, zoo: Path
) -> None:
    folder = add_student(registry, finished, zoo, name="small")
    found = listed(registry)
    assert {name.removesuffix(":NAME") for name in found} >= {
        *registry.strategies["model"],
        "small",
    }
    assert found["digits-vgg"] == {
        "model": "digits-vgg", "kind": "teacher", "data": "digits", "accuracy": "98.89 %",
        "parameters": "288,618", "MACs": "2,379,008", "size": "1.16 MB", "licence": "Apache-2.0",
        "how made": "pbkd zoo train digits-vgg",
    }  # fmt: skip
    small = found["small"]
    size = (folder / "model.safetensors").stat().st_size
    assert (small["kind"], small["size"]) == ("student", f"{size / 1e6:.2f} MB")
    assert small["how made"].startswith("pbkd run 'keep=")
    unknown = {key: found["vgg16"][key] for key in HEADS[2:]}
    assert unknown.pop("parameters") == "14,728,266"
    assert set(unknown.values()) == {""}
    assert set(list(found["timm:NAME"].values())[2:]) == {""}


def test_counting_an_architectures_parameters_needs_no_memory(registry: Registry) -> None:
    counted = int(listed(registry)["resnet20"]["parameters"].replace(",", ""))
    network = build_network(registry, {"name": "resnet20"})
    assert counted == sum(parameter.numel() for parameter in network.parameters())


def test_what_is_damaged_is_listed_with_the_reason(
    registry: Registry, finished: Path, zoo: Path, tmp_path: Path
) -> None:
    folder = add_student(registry, finished, zoo, name="sick")
    (folder / "card.yaml").write_text("parameters: many")
    (tmp_path / "card.yaml").write_text("licence: [1]")
    model = replace(registry.find("model", "digits-vgg"), card=tmp_path / "card.yaml")
    strategies = copy.copy(registry.strategies) | {"model": {"digits-vgg": model}}
    found = listed(type(registry)(registry.manager, strategies))
    assert found["sick"]["how made"].startswith("damaged: 'parameters' of the card '")
    assert found["sick"]["accuracy"] == ""
    assert found["digits-vgg"]["how made"].startswith("damaged: 'licence' of the card '")


def test_a_cell_is_empty_rather_than_zero_and_zero_is_zero() -> None:
    assert cells(Row("x", "student", Card())) == ("x", "student", *[""] * 7)
    assert cells(Row("x", "student", Card(test=0.0)))[3] == "0.00 %"


def test_data_is_named_with_its_file() -> None:
    assert data_label({"name": "npz", "path": "/somewhere/a.npz"}) == "npz a.npz"
    assert data_label({"name": "digits"}) == "digits"
    assert data_label(None) == ""
