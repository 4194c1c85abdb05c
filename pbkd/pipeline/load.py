"""Loading of students, from run folders or from their own files."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pbkd.errors import RunFolderError, TrustError, UnknownNameError
from pbkd.models.adopt import adopt
from pbkd.models.student_files import RECIPE, read_recipe, student_folder
from pbkd.models.student_loading import load_student
from pbkd.models.teacher import build_network, user_network_factory
from pbkd.pipeline.trust import is_vouched_for, open_run
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import nn

    from pbkd.models.student_files import Recipe
    from pbkd.plugin.registry import Registry


__all__ = ["Reloaded", "RunCode", "code_of_run", "load_with_code", "reload"]


@dataclass(frozen=True)
class Reloaded:
    """A student and what it was made from.

    Attributes:
        student: The student, in evaluation mode.
        teacher: The teacher's network, without trained weights.
        recipe: The choices that the student was made by.
        registry: The plugins.
    """

    student: nn.Sequential
    teacher: nn.Module
    recipe: Recipe
    registry: Registry


@dataclass(frozen=True)
class RunCode:
    """The code of a run that may run.

    Attributes:
        registry: The plugins.
        plugins: The plugins beside the installed ones.
        make: Builds the teacher's network, if that is a function of the user's.
        refusal: Why further code may not run; None if there is none.
    """

    registry: Registry
    plugins: Sequence[str] = ()
    make: Callable[[], nn.Module] | None = None
    refusal: TrustError | None = None

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Raise `refusal`, if there is one, where a name is unknown without the code."""
        try:
            yield
        except (RunFolderError, TrustError, UnknownNameError) as error:
            raise self.refusal or error from error


def code_of_run(run: Path, trust: Sequence[Path] = ()) -> RunCode:
    """Load the code that a run folder names, as far as it may run: see `open_run`.

    Args:
        run: A run folder, or a student's own folder; in that, only the recipe is read.
        trust: Files and folders that the user vouches for.

    Returns:
        The code: without untrusted code, which most students do without.
    """
    recipe = run / RECIPE
    if recipe.is_file():
        functions = [read_recipe(recipe).teacher["name"]] if is_vouched_for(recipe, trust) else []
        return RunCode(build_registry(functions=functions))
    if not (run / "config.yaml").is_file():
        return RunCode(build_registry())
    try:
        config, registry = open_run(run, trust=trust)
    except TrustError as error:
        return RunCode(build_registry(), refusal=error)
    return RunCode(registry, config.plugins, user_network_factory(registry, config.teacher))


def load_with_code(
    run: Path, code: RunCode, make: Callable[[], nn.Module] | None = None
) -> nn.Sequential:
    """Load a student with the code of its run.

    Args:
        run: A run folder, or a folder with a student's own files.
        code: What `code_of_run` returned.
        make: Builds the teacher's network, in place of the function that the run names.

    Returns:
        The student, in evaluation mode.

    Raises:
        RunFolderError: If the folder holds no student.
        WeightsError: If its weights are damaged.
        TrustError: If the student needs code that may not run.
    """
    with code.needed():
        return load_student(run, plugins=code.plugins, make=make or code.make)


def reload(run: Path, trust: Sequence[Path] = ()) -> Reloaded:
    """Load the student of a run, and build its teacher.

    Args:
        run: A run folder, or a folder with a student's own files.
        trust: Files and folders whose code runs, see `open_run`.

    Returns:
        The student and what it was made from.

    Raises:
        RunFolderError: If the folder holds no student.
        WeightsError: If its weights are damaged.
        TrustError: If student or teacher need code that may not run.
    """
    code = code_of_run(run, trust)
    recipe = read_recipe(student_folder(run) / RECIPE)
    with code.needed():
        network = code.make() if code.make else build_network(code.registry, recipe.teacher)
    return Reloaded(load_with_code(run, code), adopt(network).network, recipe, code.registry)
