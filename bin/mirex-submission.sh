#!/usr/bin/env bash
# Finds the Python that has this project installed and becomes its command: mirex-submission.sh COMMAND [arguments].
# Python is $MIREX_PYTHON if set, else the project's .venv, else python3. The other scripts of this folder call this one.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
if [ -n "${MIREX_PYTHON:-}" ]; then
    python=$MIREX_PYTHON
elif [ -x "$project/.venv/bin/python" ]; then
    python=$project/.venv/bin/python
else
    python=python3
fi
# A Ctrl-C that comes while Python starts would end in a traceback: it waits until the program can answer it, where
# env can let it wait (coreutils 8.31).
trap 'exit 130' INT
waiting=(env --block-signal=INT)
"${waiting[@]}" true 2>/dev/null || waiting=()
if ! command -v -- "$python" >/dev/null; then
    echo "mirex-submission: no Python at '$python': install Python 3.10 or newer, or set MIREX_PYTHON to one" >&2
    exit 2
fi
# File names are UTF-8, whatever the locale says.
export PYTHONUTF8=1
# Keep Python from importing what happens to lie in the caller's folder: an empty entry of PYTHONPATH names that folder,
# and Python 3.10 does not know PYTHONSAFEPATH.
export PYTHONSAFEPATH=1
if [ -n "${PYTHONPATH:-}" ]; then
    shopt -s extglob
    PYTHONPATH=${PYTHONPATH//+(:)/:}
    PYTHONPATH=${PYTHONPATH#:}
    export PYTHONPATH=${PYTHONPATH%:}
fi
safe='import sys; sys.path[:] = filter(None, sys.path); '
if ! said=$("${waiting[@]}" "$python" -c "${safe}import mirex_submission" 2>&1); then
    echo "mirex-submission: '$python' cannot import it (${said##*$'\n'}); if it is not installed, this command installs it:" >&2
    printf '    %q -m pip install %q\n' "$python" "$project" >&2
    exit 2
fi
exec "${waiting[@]}" "$python" -c "${safe}from mirex_submission.cli.main import main; sys.exit(main())" "$@"
