#!/usr/bin/env bash
# compare_systems.sh LISTS OUT [option of crossval ...]: runs any systems on the same folds, and shows which differences
# are statistically significant. LISTS is a folder from `mirex-submission folds`; bin/demo.sh writes one to demo/folds.
#
#     examples/compare_systems.sh demo/folds /tmp/two --submission ours=bin --submission svm=examples/svm_submission
#
# Without --submission it evaluates this program only. If a step fails, the report is still written, and the exit status
# is that of the last command that failed.
set -uo pipefail
project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
mirex=$project/bin/mirex-submission.sh
[ $# -ge 2 ] || { echo "usage: compare_systems.sh LISTS OUT [option of crossval ...]" >&2; exit 2; }
lists=$1 out=$2 status=0

"$mirex" crossval "$lists" --scratch "$out/scratch" --out "$out/results" "${@:3}" || status=$?
"$mirex" report "$out/results" -o "$out/report.html" || status=$?

# MIREX's own test, over classes and over folds: one row per pair of systems.
shopt -s nullglob
for table in "$out"/results/*.friedmanTKHSD.csv; do
    printf '\n%s: the last column is TRUE if two systems differ significantly\n' "${table##*/}"
    cat -- "$table"
done
exit $status
