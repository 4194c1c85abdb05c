"""`python -m pbkd`, as `torchrun -m pbkd` needs it: the same as the command `pbkd`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # `python -m` searches the current folder for modules before those that are installed; the
    # command `pbkd` does not.
    here = Path.cwd()
    if sys.path[0] == str(here) and here != Path(__file__).parent.parent:
        del sys.path[0]

    from pbkd.cli import main

    sys.argv[0] = "pbkd"
    main()
