#!/usr/bin/env bash
# extractFeatures.sh [-numThreads N] [options] SCRATCH FEATURELIST
set -euo pipefail
exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/mirex-submission.sh" extract "$@"
