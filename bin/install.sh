#!/usr/bin/env bash
# install.sh VENV [EXTRA]: makes the virtual environment VENV and installs this project into it, with the versions of
# constraints.txt. Does nothing if this is already done for the same setup.py, constraints.txt, C sources and extra.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
[ $# -ge 1 ] || { echo "usage: install.sh VENV [EXTRA]" >&2; exit 2; }
venv=$1
extra=${2:-}
# -I: Python must not import files of the current folder.
version=$(python3 -I -c 'import sys; print("%d%02d" % sys.version_info[:2])')
if [ "$version" -lt 310 ] || [ "$version" -gt 313 ]; then
    echo "install.sh: python3 must be Python 3.10 to 3.13, which TensorFlow supports" >&2
    exit 2
fi
constraints=(-c "$project/constraints.txt")
if [ "$version" = 310 ]; then # some of the tested versions need Python 3.11
    constraints=()
fi
stamp=$venv/.installed${extra:+-$extra}
wanted=$(cat -- "$project/setup.py" "$project/constraints.txt" "$project"/mirex_submission/csrc/* "$project"/mirex_submission/*/csrc/* | cksum)
# An installation with an extra is also one without it.
if ! grep -qsxF -- "$wanted" "$stamp"*; then
    echo "installing into $venv (once; it takes some minutes)" >&2
    python3 -I -m venv "$venv" || {
        echo "install.sh: python3 cannot make virtual environments here (on Debian: apt-get install python3-venv)" >&2
        exit 2
    }
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check \
        "${constraints[@]}" -e "$project${extra:+[$extra]}"
    printf '%s\n' "$wanted" >"$stamp"
fi
