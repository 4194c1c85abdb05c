from __future__ import annotations

import re

import pytest
from torchvision import models
from torchvision.models import list_models

from pbkd.config.load import load_config
from pbkd.errors import UnknownNameError
from pbkd.pipeline.coverage import cover, matching
from pbkd.plugin.registry import Registry
from tests.paths import ROOT

# One small network of each of a dozen families: blocks with parameters, and those replaced.
FAMILIES = {
    "timm:resnet18": ("resnet", 8, 8),
    "timm:resnext50_32x4d": ("resnet", 16, 16),
    "timm:vgg11_bn": ("vgg", 8, 7),
    "timm:densenet121": ("fx", 7, 4),
    "timm:regnetx_002": ("fx", 13, 13),
    "timm:mobilenetv3_small_050": ("fx", 11, 10),
    "timm:efficientnet_b0": ("fx", 16, 15),
    "timm:convnext_atto": ("fx", 18, 15),
    "timm:dla34": ("fx", 4, 4),
    "timm:darknet17": ("fx", 9, 9),
    "torchvision:squeezenet1_1": ("fx", 8, 8),
    "timm:repvgg_a0": ("fx", 21, 21),
}


# Their many wide convolutions take ten seconds and more.
SLOW = {"timm:vgg11_bn", "timm:dla34", "timm:darknet17"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(name, expected, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, expected in FAMILIES.items()
    ],
)
def test_networks_of_a_dozen_families_can_be_compressed(
    registry: Registry, name: str, expected: tuple[str, int, int]
) -> None:
    found = cover(registry, name, load_config(), size=64)
    assert found.failure is None
    assert (found.partitioner, found.blocks, found.replaced) == expected
    assert found.macs_before is not None
    assert found.macs_after is not None
    assert (found.macs_after < found.macs_before) == (found.replaced > 0)


def test_the_documents_table_says_the_same() -> None:
    """Of at least 40 networks of timm, in at least 12 families, and all CNNs of torchvision."""
    rows = {}
    for line in (ROOT / "docs" / "teachers.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if ":" in cells[0] and len(cells) == 7:
            rows[cells[0]] = cells
    for name, (partitioner, blocks, _) in FAMILIES.items():
        assert rows[name][1:3] == [partitioner, str(blocks)]
    of_timm = [name for name in rows if name.startswith("timm:")]
    assert len(of_timm) >= 40
    assert len({re.split(r"[\d_]", name)[0] for name in of_timm}) >= 12
    assert all(rows[name][2].isdigit() for name in of_timm)
    known = {f"torchvision:{name}" for name in list_models(module=models)}
    others = {name for name in known if re.search("vit_|swin|maxvit", name)}
    assert {name for name in rows if name.startswith("torchvision:")} == known - others


def test_candidates_replace_what_the_builder_leaves_alone(registry: Registry) -> None:
    config = load_config(["candidates=[{name: identity}, {name: inverted-residual}]"])
    found = cover(registry, "timm:efficientnet_b0", config, size=64)
    assert (found.failure, found.blocks, found.replaced) == (
        None,
        16,
        15,
    )  # the first does not expand
    assert found.macs_before
    assert found.macs_after
    assert found.macs_after < 0.5 * found.macs_before


def test_one_that_cannot_be_cut_is_told_with_the_reason(registry: Registry) -> None:
    found = cover(registry, "timm:efficientnet_b0", load_config(["partitioner=vgg"]), size=64)
    assert found.failure
    assert found.failure.startswith("the partitioner vgg cannot cut a EfficientNet")
    assert found.macs_after is None


def test_the_share_is_that_of_the_builder(registry: Registry) -> None:
    def share(*overrides: str) -> float:
        found = cover(registry, "resnet20", load_config(list(overrides)), size=32)
        assert found.macs_before
        assert found.macs_after
        return found.macs_after / found.macs_before

    assert share("builder.share=0.5") > share() > share("builder=separable")


def test_patterns_are_those_of_a_family(registry: Registry) -> None:
    found = list(matching(registry, ["resnet20", "torchvision:vgg11", "torchvision:vgg1*_bn"]))
    assert found[:2] == ["resnet20", "torchvision:vgg11"]
    assert found[2:] == [f"torchvision:vgg{size}_bn" for size in (11, 13, 16, 19)]
    with pytest.raises(UnknownNameError, match=r"no network of timm matches 'resnot\*'"):
        list(matching(registry, ["timm:resnot*"]))
