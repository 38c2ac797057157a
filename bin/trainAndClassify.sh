#!/usr/bin/env bash
# trainAndClassify.sh [-numThreads N] [options] SCRATCH TRAINLIST TESTLIST OUTPUT
set -euo pipefail
exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/mirex-submission.sh" train-and-classify "$@"
