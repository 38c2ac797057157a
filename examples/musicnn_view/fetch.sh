#!/usr/bin/env bash
# fetch.sh FOLDER: downloads the wheel of musicnn (29 MB) into FOLDER, and prints its path. Nothing is installed.
# Python is $MIREX_PYTHON if set, else the project's .venv, else python3.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: fetch.sh FOLDER" >&2
    exit 2
fi
project=$(dirname -- "$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")")
python=$project/.venv/bin/python
[ -x "$python" ] || python=python3
"${MIREX_PYTHON:-$python}" -m pip download --no-deps --dest "$1" musicnn==0.1.0 >&2
realpath -- "$1"/musicnn-0.1.0-*.whl
