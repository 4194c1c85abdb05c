"""The result of `pbkd.compress`, with its student in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbkd.core.files import user_path
from pbkd.core.results import RunResult
from pbkd.errors import ExportError
from pbkd.models.export import create_exporter, export
from pbkd.plugin.registry import build_registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from pbkd.models.export import Exported

__all__ = ["Compressed"]


class Compressed(RunResult):
    """The result of a run, whose student can be exported."""

    def export(
        self,
        kind: str,
        path: str | Path,
        *,
        with_preparation: bool = False,
        plugins: Sequence[str] = (),
        **options: Any,
    ) -> Exported:
        """Export the student, load the file again and compare their outputs.

        Args:
            kind: `onnx`, `torch-export`, `torchscript`, `safetensors`, or `pytorch` for Python code
                that needs torch alone; or the name of a plugin's exporter.
            path: The file, with or without the format's suffix.
            with_preparation: Whether the network takes uint8 pixels (batch, height, width,
                channels) and itself scales and normalises them.
            plugins: Plugins beside the installed ones: modules or `.py` files.
            **options: The exporter's options, such as `opset=20` for `onnx`.

        Returns:
            The written files, and how far their outputs differ from the student's.

        Raises:
            UnknownNameError: If the format is unknown.
            ExportError: If the format cannot hold the student, a package is missing, or the outputs
                differ.
            ConfigError: If it is not known how the student's images are prepared.
        """
        if self.student.network is None:
            raise ExportError("the student is not in memory: export it with pbkd export.")
        exporter = create_exporter(build_registry(plugins), kind, options)
        return export(
            self.student.network, exporter, user_path(path), with_preparation=with_preparation
        )
