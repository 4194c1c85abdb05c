"""`python -m pbkd`, as `torchrun -m pbkd` needs it: the same as the command `pbkd`."""

from __future__ import annotations

import sys

from pbkd.cli import main

if __name__ == "__main__":
    sys.argv[0] = "pbkd"
    main()
