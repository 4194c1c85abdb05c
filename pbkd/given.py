"""Teacher and data that a Python program has in memory, as `pbkd.compress` takes them."""

from __future__ import annotations

import copy
import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pbkd.chain import freeze
from pbkd.errors import ConfigError
from pbkd.options import first_line
from pbkd.own import MEMORY
from pbkd.zoo import Teacher

if TYPE_CHECKING:
    from torch import nn

    from pbkd.data import Dataset

__all__ = ["Given"]


@dataclass(frozen=True, eq=False)
class Given:
    """A trained network, which stays as it is, how its images are normalised, and maybe the data.

    Without `data` the configuration says what the data is.
    """

    network: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: Dataset | None

    @property
    def name(self) -> str:
        """The teacher's name in configuration and results."""
        return f"{MEMORY}:{type(self.network).__name__}"

    def teacher(self) -> Teacher:
        """Return a frozen copy."""
        network = freeze(copy.deepcopy(self.network).cpu())
        return Teacher(self.name, network, self.mean, self.std, "given")

    def check_portable(self) -> None:
        """Raise `ConfigError` where other processes could not have these objects."""
        main = sys.modules["__main__"]
        kinds = [type(module) for module in self.network.modules()]
        typed_in = [
            k for k in kinds if k.__module__ == "__main__" and not hasattr(main, "__file__")
        ]
        if typed_in:
            raise _not_portable(f"the class {typed_in[0].__name__} is in no file")
        try:
            pickle.dumps(self)
        except Exception as error:  # whatever the objects' own __reduce__ raises
            raise _not_portable(first_line(error)) from error


def _not_portable(reason: Any) -> ConfigError:
    return ConfigError(
        f"network or data cannot be handed to worker processes ({reason}): use workers=1, or put"
        " their classes into a module."
    )
