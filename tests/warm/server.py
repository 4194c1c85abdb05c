"""`python server.py SOCKET`: commands of pbkd as forks of this process, which has imported torch.

Each command that the program `pbkd` beside this file asks for has that one's arguments, folder,
variables and open files. It starts in hundredths of a second, not in the seconds that imports take.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from pathlib import Path

from pbkd.cli import main

# What a run imports by and by, all of it without starting threads.
IMPORTED = (
    "pbkd.pipeline.finish",
    "pbkd.execution.workers",
    "sklearn.datasets",
    "torch._dynamo",
    "torchvision",
)


def serve(path: str) -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen()
        while True:
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                return answer(line)
            line.close()


def answer(line: socket.socket) -> None:
    """Run what is asked for in a process of its own; send its exit code when that has ended."""
    _, files, _, _ = socket.recv_fds(line, 1, 3)
    with line.makefile("rb") as request:
        arguments, folder, variables = json.loads(request.read())
    if child := os.fork():
        line.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        os._exit(0)
    line.close()
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = [str(Path(sys.executable).with_name("pbkd")), *arguments]
    sys.path[0] = str(Path(sys.executable).parent)
    main()


if __name__ == "__main__":
    serve(sys.argv[1])
