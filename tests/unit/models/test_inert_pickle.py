"""Pickled data that names functions and types: nothing of it is imported or run."""

from __future__ import annotations

import argparse
import io
import os
import pathlib
import pickle
import subprocess
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import numpy as np
import pytest
import torch

from pbkd.errors import WeightsError
from pbkd.models.inert_pickle import Inert, inert_pickle_module, inert_types


def read(value: object, protocol: int = 2) -> tuple[Any, list[str]]:
    """Pickle a value, and read it with nothing imported; return it and the types left out."""
    module: Any = inert_pickle_module("x.pt")
    found = module.load(io.BytesIO(pickle.dumps(value, protocol)))
    return found, list(inert_types(found))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_comes_back(protocol: int) -> None:
    value = {"a": [1, 2.5, None, (True, "x")], "b": {3, 4}, "c": OrderedDict(x=b"1"), "d": 1j}
    assert read(value, protocol) == (value, [])
    assert read(Counter("aab"), protocol) == (Counter("aab"), [])
    assert read(defaultdict(list, {"a": [1]}), protocol) == ({"a": [1]}, [])
    assert read((torch.float16, torch.Size([2])), protocol) == ((torch.float16, (2,)), [])


@pytest.mark.parametrize("protocol", [2, 4])
def test_numbers_and_arrays_of_numpy_come_back(protocol: int) -> None:
    found, unread = read([np.float64(0.9), np.int32(3), np.arange(6.0).reshape(2, 3)], protocol)
    assert unread == []
    assert found[:2] == [0.9, 3]
    assert found[2].tolist() == [[0, 1, 2], [3, 4, 5]]


class Words(dict[str, int]):
    """A dictionary of a user's own."""


class Items(list[int]):
    """A list of a user's own."""


def test_objects_of_other_types_keep_their_items_and_do_nothing() -> None:
    words = Words(a=1)
    words.title = "x"  # type: ignore[attr-defined]
    value = [argparse.Namespace(lr=0.1), pathlib.Path("a"), words, Items([1]), {Words: 2}]
    found, unread = read(value)
    assert all(isinstance(one, Inert) for one in found[:4])
    assert found[2] == {"a": 1}
    assert found[2].state == {"title": "x"}
    assert unread == [
        "argparse.Namespace",
        f"{pathlib.PosixPath.__module__}.PosixPath",
        f"{__name__}.Items",
    ]


class Calls:
    """Unpickling this calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


CALLED: list[str] = []


def test_a_function_is_not_called() -> None:
    value = Calls(call_me, 1)
    found, unread = read(value)
    assert isinstance(found, Inert)
    assert unread == [f"{__name__}.call_me"]
    assert CALLED == []
    pickle.loads(pickle.dumps(value))  # the trap does work
    assert CALLED == ["1"]


def call_me(value: int) -> int:
    """Record a call."""
    CALLED.append(str(value))
    return value


@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, subprocess.call, os.system, pickle.loads]
)
def test_a_file_that_would_run_commands_is_refused(function: Any) -> None:
    with pytest.raises(
        WeightsError, match=r"'x\.pt' cannot be read as plain weights: it would run"
    ):
        read({"x": Calls(function, "1")})
