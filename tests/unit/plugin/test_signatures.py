from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from pbkd.plugin.signatures import accepts

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction


class Builder:
    def build(
        self, segment: object, block: object, calibration: Fraction | None = None
    ) -> None: ...

    def __call__(self, calibration: object) -> None: ...


def positional(calibration: object, /) -> None: ...


def keywords(**calibration: object) -> None: ...


def variadic(*calibration: object) -> None: ...


@functools.wraps(keywords)
def wrapped(*arguments: object, **options: object) -> None: ...


@pytest.mark.parametrize(
    ("function", "accepted"),
    [
        (Builder().build, True),
        (Builder(), True),
        (functools.partial(Builder().build, block=None), True),
        (keywords, True),
        (wrapped, True),
        (positional, False),
        (variadic, False),
        (max, False),
    ],
)
def test_keyword_is_passed_where_the_signature_asks(
    function: Callable[..., Any], accepted: bool
) -> None:
    assert accepts(function, "calibration") is accepted
