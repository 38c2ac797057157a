#!/usr/bin/env bash
# judge_ours.sh LISTS OUT [option of crossval ...]: judges this submission as MIREX would, on labelled audio of your own.
# LISTS is a folder that `mirex-submission folds` wrote; bin/demo.sh leaves a small one in demo/folds. For a first look:
#
#     examples/judge_ours.sh demo/folds /tmp/ours --train-options "ours=--epochs 20"
#
# What goes wrong is told, and the report is made all the same; the status is then that of the last step that failed.
set -uo pipefail
project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
mirex=$project/bin/mirex-submission.sh
[ $# -ge 2 ] || { echo "usage: judge_ours.sh LISTS OUT" >&2; exit 2; }
lists=$1 out=$2 status=0

echo "== extraction once, then training and classification fold by fold, through bin/*.sh" >&2
"$mirex" crossval "$lists" --scratch "$out/scratch" --out "$out/results" --submission "ours=$project/bin" "${@:3}" ||
    status=$?

echo "== would the organisers' evaluator take every output, and count every track?" >&2
for output in "$out"/results/ours/outputs/*.txt; do
    fold=$(basename "$output" .txt)
    "$mirex" validate "$lists/$fold.test.txt" "$lists/$fold.train.txt" "$output" || status=$?
done

echo "== all of it on one page" >&2
"$mirex" report "$out/results" -o "$out/report.html" || status=$?
exit $status
