"""Reading of pickled data without running code: what is no plain data becomes an inert object."""

from __future__ import annotations

import collections
import pickle
import types
from typing import TYPE_CHECKING, Any, ClassVar

from pbkd.errors import WeightsError
from pbkd.models.plain_values import (
    PLAIN_VALUES,
    Array,
    ArrayType,
    check_key,
    fill_array,
    set_byte_order,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["Inert", "inert_pickle_module", "inert_types"]

_DEPTH = 8

_MOST_TYPES = 10_000
_MOST_ELEMENTS = 2**40
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

    types_of_file: dict[tuple[str, str], Any] = {}

    class Unpickler(_Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return _find(module, name, path, types_of_file)

    stand_in: Any = types.ModuleType("inert_pickle")
    stand_in.Unpickler = Unpickler
    stand_in.load = lambda file, **options: Unpickler(file, **options).load()
    return stand_in  # type: ignore[no-any-return]


_InPython: Any = vars(pickle)["_Unpickler"]


class _Unpickler(_InPython):  # type: ignore[misc]
    """Reads pickled data; written in Python, whose memo cannot be told to be huge."""

    def _load_build(self) -> None:
        """Set the state of objects that have one here; of no others, such as functions."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif isinstance(target, Array):
            fill_array(target, state)
        elif isinstance(target, ArrayType):
            set_byte_order(target, state)
        elif isinstance(target, collections.OrderedDict) and isinstance(state, dict):
            if "_metadata" in state:
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        else:
            raise pickle.UnpicklingError("what is no object has a state")

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def _load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise pickle.UnpicklingError("what is no mapping has items")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[check_key(key)] = value

    def _load_additems(self) -> None:
        items = self.pop_mark()
        for item in items:
            check_key(item)
        target = self.stack[-1]
        if not isinstance(target, Inert):
            target.update(items)

    def _load_frozenset(self) -> None:
        self.append(frozenset(map(check_key, self.pop_mark())))

    def _load_storage(self) -> None:
        """Let a name for what is outside of the pickled data be that of a storage."""
        found = self.stack.pop()
        if not isinstance(found, tuple) or found[:1] not in (("storage",), (b"storage",)):
            raise pickle.UnpicklingError("something outside of the file is named")
        if not isinstance(found[4], int) or not 0 <= found[4] < _MOST_ELEMENTS:
            raise pickle.UnpicklingError("a storage has an impossible size")
        self.append(self.persistent_load(found))

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("the data uses an operation that no file of weights has")

    dispatch: ClassVar[dict[int, Any]] = {
        **_InPython.dispatch,
        pickle.BUILD[0]: _load_build,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BINPERSID[0]: _load_storage,
        pickle.PERSID[0]: _refuse,
        pickle.EXT1[0]: _refuse,
        pickle.EXT2[0]: _refuse,
        pickle.EXT4[0]: _refuse,
        pickle.NEXT_BUFFER[0]: _refuse,
    }


def _find(module: str, name: str, path: object, found: dict[tuple[str, str], Any]) -> Any:
    """Return what stands for a name in pickled data; `found` has the inert types of the file."""
    module = {"__builtin__": "builtins"}.get(module, module)  # as Python 2 and protocol 2 name it
    if (module, name) in PLAIN_VALUES:
        return PLAIN_VALUES[module, name]
    if module.partition(".")[0] in _RUNS_CODE:
        raise WeightsError(
            f"'{path}' cannot be read as plain weights: it would run {module}.{name}; save"
            " model.state_dict(), or use safetensors."
        )
    if (module, name) not in found:
        if len(found) >= _MOST_TYPES:
            raise pickle.UnpicklingError("too many types are named")
        found[module, name] = type(name, (Inert,), {"__module__": module})
    return found[module, name]
