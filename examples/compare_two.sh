#!/usr/bin/env bash
# compare_two.sh COMMAND_DIR LISTS OUT [option of crossval ...]: this submission and another one over the same folds, and
# whether they differ by more than chance. With what bin/demo.sh leaves:
#
#     examples/compare_two.sh examples/svm_submission demo/folds /tmp/two
set -euo pipefail
project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
mirex=$project/bin/mirex-submission.sh
usage="usage: compare_two.sh COMMAND_DIR LISTS OUT"
commands=${1:?$usage} lists=${2:?$usage} out=${3:?$usage}

"$mirex" crossval "$lists" --scratch "$out/scratch" --out "$out/results" \
    --submission "ours=$project/bin" --submission "theirs=$commands" "${@:4}"
"$mirex" report "$out/results" -o "$out/report.html"

# MIREX's own test, over classes and over folds: a row a pair, the last word is whether they differ (1) or not (0).
head "$out"/results/*.friedmanTKHSD.csv
