from __future__ import annotations

import json
from typing import Any

import pytest

from pbkd.data.normalization import Normalization
from pbkd.data.preparation import Preparation
from pbkd.data.preparation_file import preparation_from_tree, preparation_tree
from pbkd.errors import RunFolderError

CROPPED = Preparation(
    channels=3,
    resize=256,
    interpolation="bicubic",
    height=224,
    width=224,
    normalization=Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
DIRECT = Preparation(
    channels=1, resize=None, interpolation="bilinear", height=5, width=9, normalization=None
)


@pytest.mark.parametrize("preparation", [CROPPED, DIRECT])
def test_what_is_written_is_read_again(preparation: Preparation) -> None:
    tree = json.loads(json.dumps(preparation_tree(preparation)))
    assert preparation_from_tree(tree, "here") == preparation


def test_the_written_form_names_everything_that_happens_to_a_picture() -> None:
    assert preparation_tree(CROPPED) == {
        "channels": 3,
        "mode": "RGB",
        "resize": {"shorter_side": 256},
        "interpolation": "bicubic",
        "crop": {"height": 224, "width": 224},
        "range": [0, 1],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    assert preparation_tree(DIRECT)["resize"] == {"height": 5, "width": 9}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("channels", 0, "'channels' of here"),
        ("channels", True, "'channels' of here"),
        ("channels", 2**15, "'crop' of here"),
        ("crop", [224, 224], "'crop' of here is not a height"),
        ("crop", {"height": 224}, "'crop' of here is not a height"),
        ("crop", {"height": 2**40, "width": 1}, "'crop' of here is not a height"),
        ("resize", {"shorter_side": 10}, "'resize' of here does not fit"),
        ("resize", {"shorter_side": "256"}, "'resize' of here does not fit"),
        ("resize", None, "'resize' of here"),
        ("resize", {"height": 9, "width": 9}, "'resize' of here does not fit"),
        ("interpolation", "__import__", "'interpolation' of here"),
        ("interpolation", ["bilinear"], "'interpolation' of here"),
        ("mean", [0.5], "'mean' of here is no list of 3"),
        ("std", [1, 1, "1"], "'std' of here is no list of 3"),
        ("std", None, "'std' of here is no list of 3"),
        ("mean", [float("inf"), 0, 0], "'mean' of here is no list of 3"),
    ],
)
def test_a_damaged_preparation_is_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(RunFolderError, match=message):
        preparation_from_tree({**preparation_tree(CROPPED), key: value}, "here")


@pytest.mark.parametrize("tree", [None, [], "RGB"])
def test_a_missing_preparation_is_refused(tree: Any) -> None:
    with pytest.raises(RunFolderError, match="here does not say how images are prepared"):
        preparation_from_tree(tree, "here")
