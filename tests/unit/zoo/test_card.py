from __future__ import annotations

from pathlib import Path

import pytest

from pbkd.errors import ZooError
from pbkd.plugin.registry import Registry
from pbkd.zoo.card import Card, read_card

STUDENT = """
summary: "a \x1b[31mstudent\\n of two lines"
licence: MIT
command: pbkd run 'out=${teacher.name}'
data: {name: npz, path: a.npz}
accuracy: {test: 0.5}
parameters: 12
macs: 1000000
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "card.yaml"


def test_a_students_card_is_read_as_plain_text(file: Path) -> None:
    file.write_text(STUDENT.replace("\x1b", "\\x1b"))
    assert read_card(file) == Card(
        summary="a [31mstudent of two lines",
        licence="MIT",
        command="pbkd run 'out=${teacher.name}'",
        data={"name": "npz", "path": "a.npz"},
        test=0.5,
        parameters=12,
        macs=1_000_000,
    )


def test_a_teachers_card_names_its_data_in_its_recipe(registry: Registry) -> None:
    card = read_card(registry.find("model", "digits-vgg").card)
    assert card.data == {"name": "digits"}
    assert (card.parameters, card.licence) == (288618, "Apache-2.0")
    assert card.test == pytest.approx(0.989, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "must hold a mapping of keys to values."),
        ("a: [", "is not YAML: "),
        ("a: &b 1\nc: *b", "has YAML aliases"),
        ("licence: 3", "'licence' of the card "),
        ("accuracy: 0.9", "'accuracy' of the card "),
        ("accuracy: {test: 98.9}", "'test' of the card "),
        ("accuracy: {test: .nan}", "'test' of the card "),
        ("parameters: true", "'parameters' of the card "),
        ("macs: 1.5", "'macs' of the card "),
        ("macs: -1", "'macs' of the card "),
        ("data: {path: x}", "'data' of the card "),
        ("x: !!python/name:os.system", "has the YAML tag "),
    ],
)
def test_a_card_that_is_none_is_told(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ZooError) as caught:
        read_card(file)
    assert told in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_missing_is_told(file: Path) -> None:
    with pytest.raises(ZooError, match="there is no card"):
        read_card(file)
