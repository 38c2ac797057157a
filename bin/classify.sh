#!/usr/bin/env bash
# classify.sh [-numThreads N] [options] SCRATCH TESTLIST OUTPUT
set -euo pipefail
exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/mirex-submission.sh" classify "$@"
