"""Whether the student of a run can be loaded, tried before the run says that it is done.

A student that plugins of others took part in is loaded by a new Python process, in which nothing
of the run's own state is left: that takes about three seconds. One of pbkd's own plugins only is
loaded in this process, in the same way.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pbkd.errors import PLUGIN_FAILURES, PluginError, one_line
from pbkd.models.evaluation_mode import evaluation_mode
from pbkd.models.rebuilding import CURE
from pbkd.models.student_files import NETWORK, RECIPE, read_recipe
from pbkd.models.student_loading import load_student
from pbkd.models.teacher import user_network_factory
from pbkd.plugin.attribution import describe_strategy
from pbkd.plugin.user_code import is_user_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry


__all__ = ["check_loading", "main"]

_PROGRAM = "from pbkd.pipeline.loading_check import main; main()"


def check_loading(
    registry: Registry,
    folder: Path,
    student: nn.Module,
    *,
    plugins: Sequence[str],
    teacher: Mapping[str, Any],
) -> None:
    """Load a student from its files, and compare it with the one in memory.

    Args:
        registry: The plugins of its run.
        folder: The folder with its files.
        student: The finished student.
        plugins: The plugins beside the installed ones.
        teacher: The configuration's `teacher`.

    Raises:
        PluginError: If it cannot be loaded, or computes something else.
    """
    recipe = read_recipe(folder / RECIPE)
    make: Callable[[], nn.Module] | None = None
    if is_user_function(registry, recipe.teacher["name"]) and not (folder / NETWORK).is_file():
        make = user_network_factory(registry, teacher)
        if make is None:
            return  # it needs the program's own code, as a note says
    expected = _outputs(copy.deepcopy(student).cpu(), recipe)
    try:
        if make is None and sys.executable and _is_foreign(registry, recipe):
            found = _outputs_of_process(folder, plugins)
        else:
            found = _outputs(load_student(folder, plugins=plugins, make=make), recipe)
    except PLUGIN_FAILURES as error:
        raise PluginError(_message(registry, recipe, folder, one_line(error))) from error
    tolerance = 1e-3 * max(map(abs, expected))
    if not torch.allclose(torch.tensor(found), torch.tensor(expected), rtol=1e-2, atol=tolerance):
        fault = "it computes something else than the student that the run made"
        raise PluginError(_message(registry, recipe, folder, fault))


def main() -> None:
    """Load the student that standard input names; print its outputs, or why it cannot be loaded."""
    request = json.loads(sys.stdin.read())
    folder = Path(request["folder"])
    try:
        student = load_student(folder, plugins=request["plugins"])
        answer: dict[str, Any] = {"outputs": _outputs(student, read_recipe(folder / RECIPE))}
    except PLUGIN_FAILURES as error:
        answer = {"error": one_line(error)}
    print(f"\n{json.dumps(answer)}")  # in a line of its own: plugins may print, too


def _outputs_of_process(folder: Path, plugins: Sequence[str]) -> list[float]:
    request = json.dumps({"folder": str(folder.resolve()), "plugins": list(plugins)})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=request,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = process.stdout.splitlines()
    try:
        answer = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        last = (process.stderr.strip().splitlines() or ["without a message"])[-1]
        raise PluginError(
            f"the process that loads it ended with status {process.returncode}: {last}"
        ) from error
    if "error" in answer:
        raise PluginError(answer["error"])
    outputs: list[float] = answer["outputs"]
    return outputs


def _outputs(student: nn.Module, recipe: Recipe) -> list[float]:
    """Return the outputs of a student on the CPU for two random images."""
    images = torch.randn(2, *recipe.image_shape, generator=torch.Generator().manual_seed(0))
    with evaluation_mode(student), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        outputs: list[float] = student(images).double().flatten().tolist()
    return outputs


def _is_foreign(registry: Registry, recipe: Recipe) -> bool:
    """Whether a plugin that is not pbkd's own takes part in building the student."""
    model, _, _ = recipe.teacher["name"].partition(":")
    parts = [("builder", choice["name"]) for choice in recipe.replaced.values()]
    parts += [("partitioner", recipe.partitioner["name"]), ("model", model)]
    owners = {registry.owners[part] for part in parts if part in registry.owners}
    return any(registry.plugins[owner].origin.split()[0] != "pbkd" for owner in owners)


def _message(registry: Registry, recipe: Recipe, folder: Path, fault: str) -> str:
    names = sorted({choice["name"] for choice in recipe.replaced.values()})
    builders = " and ".join(
        describe_strategy("builder", registry.find("builder", name)) for name in names
    )
    return (
        f"the student in '{folder}' cannot be loaded ({fault.rstrip('.')}): if it is due to"
        f" {builders or 'a plugin'}, {CURE}."
    )
