#!/usr/bin/env bash
# judge_foreign.sh COMMAND_DIR LISTS OUT [option of crossval ...]: judges another's system in the same way: any folder
# with MIREX's scripts, in any language. examples/svm_submission is one, and bin/demo.sh leaves LISTS in demo/folds:
#
#     examples/judge_foreign.sh examples/svm_submission demo/folds /tmp/theirs
#
# What goes wrong is told, and the rest is done all the same; the status is then that of the last step that failed.
set -uo pipefail
project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
mirex=$project/bin/mirex-submission.sh
[ $# -ge 3 ] || { echo "usage: judge_foreign.sh COMMAND_DIR LISTS OUT" >&2; exit 2; }
commands=$1 lists=$2 out=$3 status=0

echo "== its own scripts; each fold's scratch folder is a copy of what its extraction left" >&2
"$mirex" crossval "$lists" --scratch "$out/scratch" --out "$out/results" --submission "theirs=$commands" "${@:4}" ||
    status=$?
"$mirex" report "$out/results" -o "$out/report.html" || status=$?

echo "== where all that you have is their outputs, one a fold, this judges them" >&2
"$mirex" evaluate --truth "$lists" --system "theirs=$out/results/theirs/outputs" --out "$out/from_outputs" || status=$?
exit $status
