"""The command line: one module per verb, which imports torch only when it runs."""

from __future__ import annotations

from pbkd.cli.stop import stoppable
from pbkd.core.lazy import lazy_exports

__all__ = ["app", "main"]


def main() -> None:
    """Run the command line; a mistake, or Ctrl-C at any moment, is one sentence on stderr."""
    with stoppable():
        from pbkd.cli.commands import run_command

        run_command()


__getattr__ = lazy_exports(__name__, {"app": "pbkd.cli.commands"})
