#!/usr/bin/env bash
# compare_two.sh COMMAND_DIR LISTS OUT [option of crossval ...]: this submission and another one over the same folds, and
# whether they differ by more than chance. With what bin/demo.sh leaves:
#
#     examples/compare_two.sh examples/svm_submission demo/folds /tmp/two
#
# What goes wrong is told, and the rest is done all the same; the status is then that of the last step that failed.
set -uo pipefail
project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
mirex=$project/bin/mirex-submission.sh
[ $# -ge 3 ] || { echo "usage: compare_two.sh COMMAND_DIR LISTS OUT" >&2; exit 2; }
commands=$1 lists=$2 out=$3 status=0

"$mirex" crossval "$lists" --scratch "$out/scratch" --out "$out/results" \
    --submission "ours=$project/bin" --submission "theirs=$commands" "${@:4}" || status=$?
"$mirex" report "$out/results" -o "$out/report.html" || status=$?

# MIREX's own test, over classes and over folds: a row a pair, the last word says whether they differ.
head "$out"/results/*.friedmanTKHSD.csv || status=$?
exit $status
