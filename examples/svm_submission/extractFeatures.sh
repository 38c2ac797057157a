#!/usr/bin/env bash
# extractFeatures.sh [-numThreads N] SCRATCH FEATURELIST
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
PYTHONUTF8=1 exec "${MIREX_PYTHON:-python3}" "$here/svm_submission.py" extract "$@"
