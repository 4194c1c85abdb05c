from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from pbkd.errors import ConfigError
from pbkd.plugin.registry import Registry


@dataclass(frozen=True)
class Outer:
    name: ClassVar[str] = "outer"
    of: Any = field(default=None, metadata={"slot": "scheduler"})


def test_an_option_that_is_a_strategy_gets_an_instance(registry: Registry) -> None:
    registry.strategies["scheduler"]["outer"] = Outer
    try:
        assert registry.create("scheduler", {"name": "outer"}).of is None
        made = registry.create("scheduler", {"name": "outer", "of": "greedy"})
        assert isinstance(made.of, registry.find("scheduler", "greedy"))
        nested = {"name": "outer", "of": {"name": "outer", "of": "greedy"}}
        assert registry.create("scheduler", nested).of == made
        for wrong in (3, {"of": "greedy"}):
            with pytest.raises(ConfigError, match="'scheduler.of' is .* but must be a name"):
                registry.create("scheduler", {"name": "outer", "of": wrong})
        with pytest.raises(ConfigError, match=r"unknown option 'scheduler\.of\.x'"):
            registry.create("scheduler", {"name": "outer", "of": {"name": "greedy", "x": 1}})
    finally:
        del registry.strategies["scheduler"]["outer"]
