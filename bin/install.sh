#!/usr/bin/env bash
# install.sh VENV [EXTRA]: makes the virtual environment VENV and installs this project into it, with the versions of
# constraints.txt. Does nothing where that was done already for the same setup.py, constraints.txt, C sources
# and extra.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
[ $# -ge 1 ] || { echo "usage: install.sh VENV [EXTRA]" >&2; exit 2; }
venv=$1
extra=${2:-}
# -I: what lies in the current folder is no module of Python.
version=$(python3 -I -c 'import sys; print("%d%02d" % sys.version_info[:2])')
if [ "$version" -lt 310 ] || [ "$version" -gt 313 ]; then
    echo "install.sh: python3 must be Python 3.10 to 3.13, for which TensorFlow is to be had" >&2
    exit 2
fi
constraints=(-c "$project/constraints.txt")
if [ "$version" = 310 ]; then # some of the versions that we prove need 3.11
    constraints=()
fi
stamp=$venv/.installed${extra:+-$extra}
wanted=$(cat -- "$project/setup.py" "$project/constraints.txt" "$project"/mirex_submission/csrc/* "$project"/mirex_submission/*/csrc/* | cksum)
# What was installed with an extra serves without it too.
if ! grep -qsxF -- "$wanted" "$stamp"*; then
    echo "installing into $venv (some minutes, once)" >&2
    python3 -I -m venv "$venv" || {
        echo "install.sh: python3 cannot make virtual environments here (on Debian: apt-get install python3-venv)" >&2
        exit 2
    }
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check \
        "${constraints[@]}" -e "$project${extra:+[$extra]}"
    printf '%s\n' "$wanted" >"$stamp"
fi
