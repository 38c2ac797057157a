#!/usr/bin/env bash
# test.sh [--all] [pytest arguments]: installs the packages for tests into .venv, then runs the linters (ruff, mypy,
# import-linter, shellcheck and hadolint) and pytest. --all adds the slow tests and, in an environment of their own, tests
# of the networks on JAX and PyTorch and of extraction on Ray.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
cd -- "$project"
all=false
if [ "${1:-}" = --all ]; then
    all=true
    shift
fi

bin/install.sh "$project/.venv" test
export PATH="$project/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
lint-imports --no-logo
shellcheck bin/*.sh examples/*.sh examples/*/*.sh .ci/run
hadolint Dockerfile
# One process per core; the tests of a file run in one process, as they share fixtures.
parallel=(-n auto --dist loadfile)
if ! $all; then
    exec python -m pytest "${parallel[@]}" -m "not slow and not ray" "$@"
fi
python -m pytest "${parallel[@]}" -m "not ray" "$@"

bin/install.sh "$project/.venv-backends" backends
for backend in jax torch; do
    KERAS_BACKEND=$backend "$project/.venv-backends/bin/python" -m pytest -m backends "$@"
done
"$project/.venv-backends/bin/python" -m pytest -m ray "$@"
