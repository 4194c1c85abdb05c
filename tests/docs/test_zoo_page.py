"""docs/zoo.md lists every model, and the cards' figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbkd.config.yaml_files import read_yaml
from tests.paths import ROOT

if TYPE_CHECKING:
    from pbkd.plugin.registry import Registry

from tests.docs.documents import section_of, table_rows

ZOO = (ROOT / "docs" / "zoo.md").read_text()


def figures(card: dict[str, Any]) -> list[str]:
    return [
        card["name"],
        f"{card['parameters']:,}",
        f"{card['macs']:,}",
        f"{100 * card['accuracy']['validation']:.2f} %",
        f"{100 * card['accuracy']['test']:.2f} %",
    ]


def test_the_zoos_table_is_the_cards() -> None:
    cards = [read_yaml(path) for path in (ROOT / "zoo").rglob("cards/*.yaml")]
    wanted = [figures(card) for card in cards]
    assert sorted(table_rows(section_of(ZOO, "Teachers that come with weights"))) == sorted(wanted)


def test_the_zoos_students_are_their_cards() -> None:
    cards = [read_yaml(path) for path in (ROOT / "zoo").rglob("students/*/card.yaml")]
    wanted = [
        [
            *figures(card),
            f"{100 * card['teacher']['accuracy']['test']:.2f} %",
            f"{card['macs'] / card['teacher']['macs']:.2f}",
        ]
        for card in cards
    ]
    assert sorted(table_rows(section_of(ZOO, "Students that come with weights"))) == sorted(wanted)


def test_every_model_of_the_zoo_is_listed(registry: Registry) -> None:
    table = ZOO.split("\n## ")[0]
    listed = [
        name.removesuffix(":NAME") for row in table_rows(table) for name in row[0].split("`, `")
    ]
    assert sorted(listed) == sorted(registry.strategies["model"])
