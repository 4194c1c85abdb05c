"""Protocols: what the classes, losses and models that plugins register must provide.

Every strategy is a frozen dataclass with a class attribute `name` and the methods below. Its fields
are its options: `scheduler=mine scheduler.patience=3` sets the field `patience` of the scheduler
`mine`. A loss is a function without options, which a plugin wraps in a `Loss`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
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
    """Cuts a teacher into a chain of segments.

    A partitioner for networks of any family has a class attribute `fallback = True`:
    `partitioner=auto` tries it last.
    """

    name: ClassVar[str]

    def accepts(self, teacher: nn.Module) -> bool:
        """Return whether this partitioner supports the teacher's family; must not modify it.

        Called with `partitioner=auto`, until a partitioner accepts the teacher: in the host process
        before planning, and in every worker.

        Args:
            teacher: Any network.
        """
        ...

    def partition(self, teacher: nn.Module) -> nn.Sequential:
        """Return the teacher as a chain of named segments that computes the same function.

        Segments hold the teacher's own modules (no copies), map one tensor to one tensor, and do
        not modify their input. The core checks this and freezes the chain.

        Called once the teacher is loaded: in the host process before planning, in every worker,
        and when a student is loaded.

        Args:
            teacher: The network, in evaluation mode.
        """
        ...


class BlockBuilder(Protocol):
    """Builds the cheaper module that replaces a block."""

    name: ClassVar[str]

    def build(self, segment: nn.Module, block: Block) -> nn.Module | None:
        """Return a replacement for a segment, or None to keep the teacher's.

        The replacement maps `block.input_shape` to `block.output_shape` and shares no tensor with
        `segment`. Random initial weights come from torch's global generator, which the core seeds
        by the run's seed and the block's name.

        Called once for each block in planning, in the host process; in every worker, for the blocks
        that it trains; and when a student is loaded.

        Args:
            segment: The teacher's segment, which must not be modified.
            block: Its name, position and shapes.
        """
        ...


@dataclass(frozen=True)
class Loss:
    """The distance of a replacement's output from the block's output: an error, over a scale.

    Both are means over the batch. They are kept apart because both can be averaged over workers
    that share a batch, and over micro-batches, but their quotient cannot. The docstring of `error`
    is shown to users.

    Called for each block in each step: in planning, in the host process, on one batch; then in
    every worker. An exception counts as a failure of the block.

    Attributes:
        name: The name that `distill.loss` selects.
        error: Maps (output, target), each (B, ...), to a scalar; differentiable in the output.
        scale: Maps the target to a scalar by which the error is divided; None for no division.
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
        """Return a scale that is safe to divide by, also if the target is all zeros."""
        return scale.clamp_min(1e-12)


class Scheduler(Protocol):
    """Decides which worker trains which blocks."""

    name: ClassVar[str]

    def schedule(self, costs: Sequence[BlockCost], workers: Sequence[Worker]) -> Schedule:
        """Return a schedule with every block in exactly one job.

        Called in planning, in the host process: once, or once for each number of workers with
        `workers=auto`. With `scheduler=auto` every scheduler is called. `pbkd plan` calls it too.

        Args:
            costs: Measured costs of the blocks, in chain order.
            workers: The workers, in the order of their ranks.
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
        """Run `work(folder, worker.rank)` for every worker, and return when all are done.

        With several workers `work` expects the environment variables RANK and WORLD_SIZE, and
        either what `pbkd.execution.private_store` yields, for workers on one machine, or the
        variables of torch's launchers, MASTER_ADDR and MASTER_PORT.

        Called in the host process, once for each phase that trains blocks: teacher-fed, the second
        training of blocks that failed, and student-fed.

        Args:
            work: The worker's main function; it can be pickled.
            folder: The run folder, which holds all that the workers need.
            workers: The workers to start.

        Raises:
            WorkerError: A worker ended before its jobs were done.
        """
        ...


@dataclass(frozen=True)
class EnergyReading:
    """Energy since a meter was opened.

    Attributes:
        joules: Joules by domain, such as `gpu0` or `cpu-package-0`.
        lost: The reason by domain whose sensor was lost or cannot be trusted; such a domain is not
            in `joules`.
        devices: The device by domain, as torch names it (`cuda:0`, `cpu`), where it is certain.
        estimates: The method by domain that no sensor measures; the name of such a domain contains
            the word `estimate`.
    """

    joules: Mapping[str, float]
    lost: Mapping[str, str]
    devices: Mapping[str, str] = field(default_factory=dict)
    estimates: Mapping[str, str] = field(default_factory=dict)


class EnergyMeter(Protocol):
    """Reads energy sensors."""

    name: ClassVar[str]

    def open(self) -> AbstractContextManager[Callable[[], EnergyReading]]:
        """Open the sensors; the context manager yields a function that reads them.

        The core calls that function about once a second, from one thread at a time, so that a
        meter can follow a counter that wraps around, or integrate power between two calls.

        Called in the host process, in a dedicated thread: once per run, before planning, and by
        `pbkd doctor`. `pbkd bench` calls it in the process of its first worker.

        Raises:
            MeterUnavailableError: There is no usable sensor; the message says why.
        """
        ...


@dataclass(frozen=True)
class ZooModel:
    """A network that can be built by name.

    A family of networks, such as `timm`, has `variants`: `teacher=timm:NAME` calls
    `build(variant=NAME, ...)`.

    Attributes:
        name: The name that `teacher` selects.
        build: Returns the network with random weights. Its keyword arguments, all with defaults,
            are the options `teacher.OPTION=VALUE`.
        summary: One line for `pbkd zoo list`.
        mean: Mean of the images, one value per channel, for pixels in [0, 1].
        std: Standard deviation of the images, one value per channel.
        input_shape: (channels, height, width), or None for images of any size.
        weights: File of trained weights.
        card: YAML file that records how the weights were trained, and their scores.
        variants: Lists the names of a family's networks.
        recipe: YAML file with a configuration that compresses the model well.
    """

    name: str
    build: Callable[..., nn.Module]
    summary: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    _: KW_ONLY
    input_shape: tuple[int, int, int] | None = None
    weights: Path | None = None
    card: Path | None = None
    variants: Callable[[], Sequence[str]] | None = None
    recipe: Path | None = None
