"""Cost files: the measured costs of every block, and the number of steps.

The format is JSON: `{"format": 1, "about": TEXT, "unit": "seconds per step", "steps": N,
"distinct_steps": N, "epochs": N, "blocks": [...], "run": {...}}`, each block with the fields of
`pbkd.BlockCost`, `run` with the fields of `pbkd.planning.run_work.RunWork`; `epochs` and `run` may
be missing. Published seconds per job (`pbkd.planning.published_costs`) are read too.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pbkd.core.blocks import BlockCost
from pbkd.core.files import CHECKSUM, checked, read_foreign_json, write_json
from pbkd.core.plain_data import from_plain, to_plain
from pbkd.core.plausible_numbers import is_plausible
from pbkd.core.workload import Workload
from pbkd.errors import ConfigError, RunFolderError, did_you_mean
from pbkd.planning.published_costs import choose_run, split_seconds, workload_of
from pbkd.planning.run_work import PHASES, RunWork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


__all__ = ["CostTable", "read_costs", "workload_data", "write_costs"]

_FORMAT = 1
_UNIT = "seconds per step"
_MAX_BLOCKS = 10_000
_MOST = {"float": 1e9, "int": 10**15}  # largest plausible seconds; bytes and steps
_FIELDS = {field.name: field for field in fields(BlockCost)}


@dataclass(frozen=True)
class CostTable:
    """Costs of a teacher's blocks.

    Attributes:
        about: Teacher, data and device, for people.
        costs: Costs per step, in the order of the chain.
        workload: The training steps of every block.
        run: The work of the run's phases; None if it is unknown.
    """

    about: str
    costs: tuple[BlockCost, ...]
    workload: Workload
    run: RunWork | None = None


def read_costs(path: Path, setting: str | None = None) -> CostTable:
    """Read a cost file, or published seconds as costs.

    Args:
        path: The file.
        setting: The run of a file of published seconds, as `choose_run` takes it.

    Returns:
        The costs.

    Raises:
        ConfigError: If the file is missing, damaged, too large, or has a value out of range.
    """
    tree = _read(path)
    if "runs" in tree:
        run = choose_run(tree["runs"], setting, path)
        about = f"{run.setting}, record of {run.workers} worker(s), split by MACs"
        return CostTable(about, tuple(split_seconds(run)), workload_of(run.setting))
    if setting is not None:
        raise ConfigError(f"'{path}' is a cost file of a single run: omit --setting.")
    return _table(tree, f"the cost file '{path}'")


def write_costs(path: Path, table: CostTable) -> None:
    """Write a cost file."""
    blocks = [asdict(cost) for cost in table.costs]
    head = {"format": _FORMAT, "about": table.about, "unit": _UNIT, **workload_data(table.workload)}
    run = {} if table.run is None else {"run": to_plain(table.run)}
    write_json(path, {**head, "blocks": blocks, **run})


def workload_data(workload: Workload) -> dict[str, int]:
    """Return the steps, and the epochs if they are known, as cost files have them."""
    epochs = {} if workload.epochs is None else {"epochs": workload.epochs}
    return {"steps": workload.steps, "distinct_steps": workload.distinct_steps, **epochs}


def _read(path: Path) -> dict[str, Any]:
    """Read a cost file, with a checksum if pbkd wrote it."""
    try:
        tree = read_foreign_json(path)
        if isinstance(tree, dict) and CHECKSUM in tree:
            tree = checked(tree, path)
    except RunFolderError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(tree, dict) or not {"format", "runs"} & tree.keys():
        raise ConfigError(f"the cost file '{path}' has neither a 'format' nor 'runs'.")
    return tree


def _table(tree: Mapping[str, Any], where: str) -> CostTable:
    required = ("format", "about", "unit", "steps", "distinct_steps", "blocks")
    _check_keys(tree, required, ("epochs", "run"), where)
    if tree["format"] != _FORMAT or tree["unit"] != _UNIT:
        raise ConfigError(f"{where} must have format {_FORMAT} and the unit '{_UNIT}'.")
    steps = _number(tree["steps"], "int", f"{where}, 'steps'")
    distinct = _number(tree["distinct_steps"], "int", f"{where}, 'distinct_steps'")
    if not 1 <= distinct <= steps:
        raise ConfigError(f"{where} must have 1 <= distinct_steps <= steps.")
    epochs = _number(tree["epochs"], "int", f"{where}, 'epochs'") if "epochs" in tree else None
    about = _text(tree["about"], f"{where}, 'about'")
    costs = _costs(tree["blocks"], where)
    run = _run(tree["run"], costs, where) if "run" in tree else None
    return CostTable(about, costs, Workload(steps, distinct, epochs), run)


def _run(data: Any, costs: Sequence[BlockCost], where: str) -> RunWork:
    """Check the work of a run: plausible numbers, blocks of the table, phases of a run."""
    try:
        run: RunWork = from_plain(RunWork, data)
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: 'run' is not the work of a run.") from error
    names = [cost.name for cost in costs]
    blocks = [cost.name for cost in run.student_fed]
    phases = {*run.serial, *(shared.phase for shared in run.passes)}
    if blocks != [name for name in names if name in blocks] or not phases <= {*PHASES}:
        raise ConfigError(f"{where}: 'run' has blocks or phases that are not of this run.")
    if not is_plausible("run", run):
        raise ConfigError(f"{where}: 'run' has a number that is out of range.")
    return run


def _costs(blocks: Any, where: str) -> tuple[BlockCost, ...]:
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= _MAX_BLOCKS:
        raise ConfigError(f"{where} must have a list of 1 to {_MAX_BLOCKS:,} 'blocks'.")
    costs = [_cost(block, f"{where}, block {index + 1}") for index, block in enumerate(blocks)]
    if len({cost.name for cost in costs}) < len(costs):
        raise ConfigError(f"{where} has two blocks of the same name.")
    for before, after in pairwise(costs):
        if after.prefix_seconds < before.prefix_seconds:
            raise ConfigError(
                f"{where}: prefix_seconds of '{after.name}' is less than of '{before.name}' before"
                " it: list the blocks in the order of the chain."
            )
    return tuple(costs)


def _cost(block: Any, where: str) -> BlockCost:
    if not isinstance(block, dict):
        raise ConfigError(f"{where} must be a mapping.")
    required = [name for name, field in _FIELDS.items() if field.default is MISSING]
    _check_keys(block, required, [name for name in _FIELDS if name not in required], where)
    values: dict[str, Any] = {
        name: _text(value, f"{where}, '{name}'")
        if _FIELDS[name].type == "str"
        else _number(value, str(_FIELDS[name].type), f"{where}, '{name}'")
        for name, value in block.items()
    }
    return BlockCost(**values)


def _check_keys(
    tree: Mapping[str, Any], required: Sequence[str], optional: Sequence[str], where: str
) -> None:
    known = (*required, *optional)
    for key in tree:
        if key not in known:
            raise ConfigError(f"{where} has an unknown key '{key}'.{did_you_mean(key, known)}")
    missing = [key for key in required if key not in tree]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}.")


def _number(value: Any, kind: str, where: str) -> Any:
    """Check a number: finite, not negative, and whole if `kind` is int."""
    whole = kind == "int"
    if type(value) not in ((int,) if whole else (int, float)) or not 0 <= value <= _MOST[kind]:
        wanted = f"a {'whole ' * whole}number from 0 to {_MOST[kind]:,}"
        raise ConfigError(f"{where} must be {wanted}.")
    return value if whole else float(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 500 or not value.isprintable():
        raise ConfigError(f"{where} must be a text of 1 to 500 printable characters.")
    return value
