"""Reading of pickled data without running code: what is no plain data becomes an inert object."""

from __future__ import annotations

import builtins
import collections
import pickle
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import _utils as rebuilding

from pbkd.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["Inert", "inert_pickle_module", "inert_types"]

_DEPTH = 8

_TORCH_FUNCTIONS = (
    "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
    "_rebuild_parameter_with_state",
)  # fmt: skip
_DATA = {
    **{("torch._utils", name): getattr(rebuilding, name) for name in _TORCH_FUNCTIONS},
    ("torch._tensor", "_rebuild_from_type_v2"): lambda function, _type, given, _state: function(
        *given
    ),
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    ("torch.nn.parameter", "Parameter"): torch.nn.Parameter,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): lambda *_given: collections.OrderedDict(),
    ("collections", "Counter"): collections.Counter,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}
"""What torch and numpy name in files of tensors, by module and name."""
_BUILTINS = (
    "list",
    "dict",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "bytes",
    "set",
    "frozenset",
    "complex",
    "slice",
    "range",
    "bytearray",
    "object",
)
_RUNS_CODE = (
    "builtins", "os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "importlib",
    "pty", "code", "codeop", "pickle", "ctypes", "webbrowser", "commands", "asyncio",
    "multiprocessing",
)  # fmt: skip


class Inert(dict[Any, Any]):
    """An object of a file whose type was not imported: its items and state, and no behaviour."""

    state: Any = None

    def __new__(cls, *_given: Any, **_named: Any) -> Inert:
        """Ignore the arguments that the type would get."""
        return super().__new__(cls)

    def __init__(self, *_given: Any, **_named: Any) -> None:
        """Ignore the arguments that the type would get."""

    def __call__(self, *_given: Any, **_named: Any) -> Inert:
        """Stand for the result of a call."""
        return self

    def __setstate__(self, state: Any) -> None:
        """Keep the state, which says what the object was."""
        self.state = state

    def __hash__(self) -> int:  # type: ignore[override]
        """Allow the object as a key, as its type may have."""
        return id(self)

    def append(self, _value: Any) -> None:
        """Ignore an element, as of a list's subclass."""

    def extend(self, _values: Any) -> None:
        """Ignore elements, as of a list's subclass."""

    def add(self, _value: Any) -> None:
        """Ignore an element, as of a set's subclass."""


def inert_types(content: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of types in lists and mappings of which nothing was read."""
    if isinstance(content, Inert) and not content:
        yield f"{type(content).__module__}.{type(content).__name__}"
    elif isinstance(content, (dict, list, tuple)) and depth < _DEPTH:
        for value in content.values() if isinstance(content, dict) else content:
            yield from inert_types(value, depth + 1)


def inert_pickle_module(path: object) -> types.ModuleType:
    """Return a stand-in for the module `pickle`, for `torch.load`, that imports nothing.

    Pickled data names functions and types to call. Here these are tensors, containers, numbers and
    numpy's arrays, and `Inert` for every other name.

    Args:
        path: The file, for the error message.

    Raises:
        WeightsError: While reading, if the data names a function that runs commands.
    """

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return _find(module, name, path)

    stand_in: Any = types.ModuleType("inert_pickle")
    stand_in.Unpickler = Unpickler
    stand_in.load = lambda file, **options: Unpickler(file, **options).load()
    return stand_in  # type: ignore[no-any-return]


def _find(module: str, name: str, path: object) -> Any:
    """Return what stands for a name in pickled data."""
    module = {"__builtin__": "builtins"}.get(module, module)  # as Python 2 and protocol 2 name it
    known = _DATA.get((module, name)) or _torch_value(module, name) or _numpy_value(module, name)
    if known is not None:
        return known
    if module == "builtins" and name in _BUILTINS:
        return getattr(builtins, name)
    if module.partition(".")[0] in _RUNS_CODE:
        raise WeightsError(
            f"'{path}' cannot be read as plain weights: it would run {module}.{name}; save"
            " model.state_dict(), or use safetensors."
        )
    return type(name, (Inert,), {"__module__": module})


def _torch_value(module: str, name: str) -> Any:
    """Return a dtype, a layout or a class of storages; None for any other name."""
    if module not in ("torch", "torch.storage"):
        return None
    value = getattr(torch, name, None) or getattr(torch.storage, name, None)
    is_storage = isinstance(value, type) and name.endswith("Storage")
    return value if is_storage or isinstance(value, (torch.dtype, torch.layout)) else None


def _numpy_value(module: str, name: str) -> Any:
    """Return what makes an array or a number of numpy; None for any other name."""
    if module == "numpy.dtypes" and name.endswith("DType"):
        return getattr(np.dtypes, name, None)
    if module.partition(".")[0] != "numpy":
        return None
    return {
        "dtype": np.dtype,
        "ndarray": np.ndarray,
        "_reconstruct": np.zeros(0).__reduce__()[0],
        "scalar": lambda dtype, data: np.frombuffer(data, dtype)[0],
    }.get(name)
