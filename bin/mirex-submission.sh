#!/usr/bin/env bash
# mirex-submission.sh COMMAND [arguments]: runs a command with the Python in which this project is installed: $MIREX_PYTHON
# if set, else the project's .venv, else python3. The other scripts of this folder call this one.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
if [ -n "${MIREX_PYTHON:-}" ]; then
    python=$MIREX_PYTHON
elif [ -x "$project/.venv/bin/python" ]; then
    python=$project/.venv/bin/python
else
    python=python3
fi
# A Ctrl-C while Python starts would print a traceback: block it until the program can handle it, if env can do that
# (coreutils 8.31).
trap 'exit 130' INT
waiting=(env --block-signal=INT)
"${waiting[@]}" true 2>/dev/null || waiting=()
if ! command -v -- "$python" >/dev/null; then
    echo "mirex-submission: '$python' does not exist: install Python 3.10 or newer, or set MIREX_PYTHON to one" >&2
    exit 2
fi
# File names are UTF-8, whatever the locale says.
export PYTHONUTF8=1
# Python must not import files of the caller's folder: an empty entry of PYTHONPATH names that folder, and Python 3.10 does
# not know PYTHONSAFEPATH.
export PYTHONSAFEPATH=1
if [ -n "${PYTHONPATH:-}" ]; then
    shopt -s extglob
    PYTHONPATH=${PYTHONPATH//+(:)/:}
    PYTHONPATH=${PYTHONPATH#:}
    export PYTHONPATH=${PYTHONPATH%:}
fi
safe='import sys; sys.path[:] = filter(None, sys.path); '
if ! message=$("${waiting[@]}" "$python" -c "${safe}import mirex_submission" 2>&1); then
    echo "mirex-submission: '$python' cannot import this project (${message##*$'\n'}). To install it:" >&2
    printf '    %q -m pip install %q\n' "$python" "$project" >&2
    exit 2
fi
exec "${waiting[@]}" "$python" -c "${safe}from mirex_submission.cli.main import main; sys.exit(main())" "$@"
