"""What a plugin may provide.

Every strategy is a frozen dataclass with a class-level `name` and one method. Its fields are its
options: `scheduler=mine scheduler.patience=3` sets the field `patience` of the scheduler `mine`.
A loss is one function, so a plugin hands over a `Loss` that holds it, without options.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor, nn

    from pbkd.core.blocks import Block, BlockCost
    from pbkd.core.schedule import Schedule, Worker


__all__ = [
    "BlockBuilder",
    "EnergyMeter",
    "EnergyReading",
    "Launcher",
    "Loss",
    "Partitioner",
    "Scheduler",
    "ZooModel",
]


class Partitioner(Protocol):
    """Cuts a teacher into a chain.

    One that takes networks of any family says so by a class attribute `fallback = True`:
    `partitioner=auto` asks it after all others.
    """

    name: ClassVar[str]

    def accepts(self, teacher: nn.Module) -> bool:
        """Say whether this partitioner knows the teacher's family; leave the teacher as it is.

        Called with `partitioner=auto`, for any network whatever, until a partitioner accepts it:
        in the host process before planning, and in every worker.
        """
        ...

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Return the teacher as a chain of named segments that computes the same function.

        Segments hold the teacher's own modules (no copies), take one tensor, give one tensor and
        leave their input as it is. The core checks this and freezes the chain.

        Called once the teacher is loaded: in the host process before planning, in every worker,
        and wherever a student is loaded.
        """
        ...


class BlockBuilder(Protocol):
    """Builds the cheaper module that takes a block's place."""

    name: ClassVar[str]

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:
        """Return a replacement for `segment`, or None to keep the teacher's.

        The replacement maps `block.input_shape` to `block.output_shape` and shares no tensor
        with `segment`. Random initial weights come from torch's global generator, which the core
        seeds from (seed, block name). `segment` stays as it is: it is the teacher's own.

        Called once for each block in planning, in the host process; in every worker, for the
        blocks that it trains; and wherever a student is loaded.
        """
        ...


@dataclass(frozen=True)
class Loss:
    """How far a replacement's output is from its block's: an error, in units of a scale.

    `error(output, target)` and `scale(target)`, if there is one, give scalars, each a mean over the
    batch; a gradient flows to the output. The two stay apart because both can be averaged over
    workers that share a batch, or over pieces of one, which their ratio cannot. What the docstring
    of `error` says is shown to users.

    Called for each block in each step: in planning, in the host process, on one batch; then in
    every worker. What they raise counts as a failure of the block.
    """

    name: str
    error: Callable[[Tensor, Tensor], Tensor]
    scale: Callable[[Tensor], Tensor] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a whole batch, a scalar."""
        value = self.error(output, target)
        return value if self.scale is None else value / self.safe(self.scale(target))

    @staticmethod
    def safe(scale: Tensor) -> Tensor:
        """Return a scale that can be divided by, also where the target is all zeros."""
        return scale.clamp_min(1e-12)


class Scheduler(Protocol):
    """Says which worker trains which blocks."""

    name: ClassVar[str]

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Return a schedule with every block of `costs` (in chain order) in exactly one job.

        Called in planning, in the host process: once, or, with `workers=auto`, once for each
        number of workers. With `scheduler=auto` every scheduler is asked. `pbkd plan` asks too.
        """
        ...


class Launcher(Protocol):
    """Starts workers.

    A launcher whose workers are on other machines also has a method `workers(request)`, which takes
    a `pbkd.execution.WorkerRequest` and returns the workers that exist, with their speeds and
    links, as a sequence of `Worker`. It is called in planning, in the host process; the requested
    number of workers need not be met.
    """

    name: ClassVar[str]

    def launch(
        self, work: Callable[[Path, int], None], folder: Path, workers: Sequence[Worker]
    ) -> None:
        """Run `work(folder, worker.rank)` for every worker; return when all are done.

        `work` can be pickled, and `folder` holds all else that it needs. With several workers
        it finds torch's launcher environment (RANK, WORLD_SIZE, MASTER_ADDR …).
        Raises `WorkerError` when a worker ends before its jobs are done.

        Called in the host process, once for each phase that trains blocks: teacher-fed, the second
        try of blocks that failed, student-fed.
        """
        ...


@dataclass(frozen=True)
class EnergyReading:
    """Joules since the meter was opened, for each domain (such as `gpu0` or `cpu-package-0`).

    A domain whose sensor was lost or cannot be trusted stands in `lost`, with the reason, and not
    in `joules`. `devices` has the device, as torch names it (`cuda:0`, `cpu`), of each domain for
    which it is known for certain. `estimates` says how the joules of a domain are worked out that
    no sensor measures; such a domain has the word `estimate` in its name.
    """

    joules: Mapping[str, float]
    lost: Mapping[str, str]
    devices: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, str] = field(default_factory=dict)


class EnergyMeter(Protocol):
    """Reads energy sensors."""

    name: ClassVar[str]

    def open(self) -> AbstractContextManager[Callable[[], EnergyReading]]:
        """Open the sensors; the context gives a function that reads them.

        The core calls that function about once a second, from one thread at a time, so that a
        meter may follow a counter that wraps or integrate power between two calls.
        Raises `MeterUnavailableError`, with the reason, where there is no usable sensor.

        Called in the host process, in a thread of the meter's own: once for a run, before planning,
        and by `pbkd doctor`; and by `pbkd bench` in the process of its first worker.
        """
        ...


@dataclass(frozen=True)
class ZooModel:
    """A network that can be built by name.

    `build` takes keyword options with defaults and returns the network with random weights; its
    signature is what `teacher.OPTION=VALUE` may set. `mean` and `std` normalise images in [0, 1].
    `input_shape` is (channels, height, width), or None where any size will do. `card` is a YAML
    file that records how shipped `weights` were made and how they score; `recipe` one of a run's
    configuration that compresses the model well.

    A family, such as `timm`, also has `variants`: `teacher=timm:NAME` then calls
    `build(variant=NAME, ...)`, and `variants()` lists the names.
    """

    name: str
    build: Callable[..., nn.Module]
    summary: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, int, int] | None = None
    weights: Path | None = None
    card: Path | None = None
    variants: Callable[[], Sequence[str]] | None = None
    recipe: Path | None = None
