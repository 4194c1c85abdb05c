"""Cut a sequential network into pairs of its children."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from pbkd import hookimpl

PBKD_CONTRACT = 2


@dataclass(frozen=True)
class PairPartitioner:
    """Make a block of every `size` children in a row; the first and the last are stem and head.

    Args:
        size: Children per block.
    """

    name: ClassVar[str] = "pairs"
    size: int = 2

    def accepts(self, teacher: nn.Module) -> bool:
        """Accept what is `nn.Sequential` itself and long enough."""
        return isinstance(teacher, nn.Sequential) and len(teacher) >= 2 + self.size

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Group the children."""
        children = list(teacher.children())
        chain = nn.Sequential()
        chain.add_module("stem", children[0])
        for index in range(1, len(children) - 1, self.size):
            group = children[index : min(index + self.size, len(children) - 1)]
            chain.add_module(f"block{index}", nn.Sequential(*group))
        chain.add_module("head", children[-1])
        return chain


@hookimpl
def register_partitioners() -> list[type[PairPartitioner]]:
    """Register the partitioner `pairs`."""
    return [PairPartitioner]
