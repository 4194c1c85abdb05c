"""The logits among what a network returns: chosen by shape or by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from pbkd.errors import TeacherError

__all__ = ["LogitsHook", "find_logits", "logits_options", "tensors_in"]

_SMALLEST = 1e-30


@dataclasses.dataclass(frozen=True)
class LogitsHook:
    """A forward hook by which a network returns its logits alone.

    Attributes:
        path: Where they are in the network's output: keys, names and indices; empty if the output
            is the logits.
        probabilities: Whether the output are probabilities, whose logarithm is returned.
    """

    path: tuple[str, ...] = ()
    probabilities: bool = False

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Return the logits of an output."""
        logits = pick(output, self.path)
        return logits.clamp_min(_SMALLEST).log() if self.probabilities else logits


def pick(output: Any, path: tuple[str, ...]) -> Any:
    """Return the part of an output at a path; the output may be a value of a traced network."""
    for key in path:
        if isinstance(output, fx.Proxy):
            proxy: Any = output
            output = proxy[int(key) if key.isdigit() else key]
        else:
            output = _parts(output)[key]
    return output


def logits_options(network: nn.Module) -> dict[str, Any]:
    """Return the options of a teacher that make another copy of a network return the same logits.

    Args:
        network: A network, after `find_logits`.

    Returns:
        `output` and `probabilities`, as far as they are needed.
    """
    for hook in network._forward_hooks.values():
        if isinstance(hook, LogitsHook):
            output = {"output": ".".join(hook.path)} if hook.path else {}
            return {**output, **({"probabilities": True} if hook.probabilities else {})}
    return {}


def find_logits(
    output: Any, classes: int | None, chosen: str | None, probabilities: bool | None = None
) -> tuple[LogitsHook | None, list[str]]:
    """Find the logits in what a network returned.

    Args:
        output: What it returned for a batch of several images.
        classes: The number of classes; None if it is unknown.
        chosen: Which part of the output are the logits: a key, name or index, with dots for
            nested outputs; None for the only tensor of (images, classes).
        probabilities: Whether they are probabilities; None if that is to be found out.

    Returns:
        What turns such outputs into logits, None if they are logits; and notes.

    Raises:
        TeacherError: If no part has the shape of logits, or several have; or if there is no part
            `chosen`.
    """
    whole = isinstance(output, Tensor) and chosen is None
    path = () if whole else _path(output, classes, chosen)
    notes = []
    if path:
        notes.append(f"Of the teacher's outputs, '{'.'.join(path)}' is taken as the logits.")
    if probabilities is None:
        probabilities = _are_probabilities(pick(output, path))
    if probabilities:
        notes.append(
            "The teacher returns probabilities: their logarithm is taken as the logits, and the"
            " student returns logits, whose softmax are its probabilities."
        )
    return LogitsHook(path, probabilities) if path or probabilities else None, notes


def _path(output: Any, classes: int | None, chosen: str | None) -> tuple[str, ...]:
    tensors = tensors_in(output)
    known = ", ".join(f"'{'.'.join(path)}' {tuple(t.shape)}" for path, t in tensors.items())
    if chosen is not None:
        matching = [
            path for path in tensors if chosen in (".".join(path), _positions(output, path))
        ]
        if not matching:
            raise TeacherError(
                f"the teacher's output has no tensor '{chosen}', as 'output' names it; it has"
                f" {known or 'none'}."
            )
        return matching[0]
    fitting = [path for path, tensor in tensors.items() if tensor.ndim == 2]
    exact = [path for path in fitting if classes == tensors[path].shape[1]]
    fitting = fitting if len(fitting) == 1 or not exact else exact
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise TeacherError(
            f"the teacher returns {type(output).__name__} without logits, a tensor of (images,"
            f" classes); it has {known or 'no tensor'}: only networks that classify images can be"
            " compressed."
        )
    raise TeacherError(
        f"the teacher returns several tensors that can be its logits ({known}): say which by"
        f" teacher.output={'.'.join(fitting[0])}, in Python by output=…"
    )


def tensors_in(output: Any, depth: int = 4) -> dict[tuple[str, ...], Tensor]:
    """List the tensors in an output, nested up to `depth` times, by path."""
    if isinstance(output, Tensor):
        return {(): output}
    if depth == 0:
        return {}
    return {
        (key, *path): tensor
        for key, part in _parts(output).items()
        for path, tensor in tensors_in(part, depth - 1).items()
    }


def _parts(output: Any) -> dict[str, Any]:
    """List the parts of an output by key, name or index; empty if it has none."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, (tuple, list)):
        return {str(index): value for index, value in enumerate(output)}
    if dataclasses.is_dataclass(output):
        return {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    return dict(getattr(output, "__dict__", {})) if not isinstance(output, Tensor) else {}


def _positions(output: Any, path: tuple[str, ...]) -> str:
    """Write a path with indices only, which name the parts of named tuples and dictionaries too."""
    indices = []
    for key in path:
        parts = _parts(output)
        indices.append(str(list(parts).index(key)))
        output = parts[key]
    return ".".join(indices)


def _are_probabilities(logits: Any) -> bool:
    """Whether every row is positive and adds up to one, as softmax's do."""
    if (
        not isinstance(logits, Tensor)
        or logits.ndim != 2
        or logits.shape[1] < 2
        or not logits.is_floating_point()
    ):
        return False
    return bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-4).all())
