from __future__ import annotations

import pytest

from pbkd import errors
from pbkd.errors import PbkdError, did_you_mean

CLASSES = sorted(
    {n for n in errors.__all__ if isinstance(getattr(errors, n), type)} - {"PbkdError"}
)


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_one_that_the_command_line_prints(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, PbkdError)
    assert str(kind("it is so.")) == "it is so."


def test_all_errors_of_the_module_are_exported() -> None:
    found = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PbkdError)
    ]
    assert sorted(found) == sorted([*CLASSES, "PbkdError"])


def test_a_near_miss_is_suggested() -> None:
    assert did_you_mean("gredy", ["round-robin", "greedy"]) == (
        " Did you mean 'greedy'? Known: greedy, round-robin."
    )


def test_nothing_is_suggested_for_a_name_unlike_any_other() -> None:
    assert did_you_mean("xyz", ["round-robin", "greedy"]) == " Known: greedy, round-robin."


def test_it_is_said_that_there_are_no_names_at_all() -> None:
    assert did_you_mean("xyz", []) == " Known: none."
