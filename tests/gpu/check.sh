#!/usr/bin/env sh
# Try on a GPU what only a GPU can show, in at most 8 minutes; see docs/gpu.md.
#
#     sh tests/gpu/check.sh [PART]...
#
# It needs this checkout and a Python with the packages that pbkd needs, no installation and no
# network. PYTHON names the Python, OUT the folder for the results.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
paths=$("$python" "$root/tests/gpu/installation.py" "$made/site")
export PYTHONPATH="$paths${PYTHONPATH:+:$PYTHONPATH}" PYTHONDONTWRITEBYTECODE=1
"$python" -m tests.gpu.check --out "${OUT:-gpu-check}" --work "$made/work" "$@"
