#!/usr/bin/env bash
# train.sh [-numThreads N] [options] SCRATCH [FEATURELIST] TRAINLIST
set -euo pipefail
exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/mirex-submission.sh" train "$@"
