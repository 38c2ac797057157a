#!/usr/bin/env bash
# demo.sh [FOLDER]: installs into .venv and synthesises a small labelled corpus; trains a model, classifies the held-out
# clips with the scripts of a submission and prints the accuracy; then compares both recipes and another submission on 3
# folds and writes a report. FOLDER (default: demo/) keeps every file.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
if [[ ${1:-} == -* ]]; then
    echo "usage: demo.sh [FOLDER]" >&2
    exit 2
fi
folder=${1:-$project/demo}
epochs=15 # of the paper's 150: enough for this corpus
"$project/bin/install.sh" "$project/.venv"
python=$project/.venv/bin/python

mkdir -p -- "$folder"
folder=$(cd -- "$folder" && pwd)
echo "== a corpus of four styles, 9 clips each" >&2
"$python" "$project/examples/synthetic_corpus.py" --clips 9 --seconds 10 "$folder/corpus"
export MIREX_PYTHON=$python
echo "== bin/train.sh --epochs $epochs SCRATCH FEATURELIST TRAINLIST" >&2
"$project/bin/train.sh" --epochs $epochs "$folder/scratch" "$folder/corpus/features.txt" "$folder/corpus/train.txt"
echo "== bin/classify.sh SCRATCH TESTLIST OUTPUT" >&2
"$project/bin/classify.sh" --probabilities "$folder/probabilities.csv" \
    "$folder/scratch" "$folder/corpus/test.txt" "$folder/output.txt"
echo "== the held-out clips" >&2
"$project/bin/mirex-submission.sh" evaluate --truth "$folder/corpus/truth.txt" --system "ours=$folder/output.txt" \
    --out "$folder/figures"
echo "== 3 folds of the recipes paper and modulation, and of examples/svm_submission" >&2
"$project/bin/mirex-submission.sh" folds --from-folders "$folder/corpus/audio" --out "$folder/folds"
"$project/examples/compare_systems.sh" "$folder/folds" "$folder/compared" --train-options "paper=--epochs $epochs" \
    --recipe paper --recipe modulation --submission "theirs=$project/examples/svm_submission"
cat <<END

This music is synthetic and easy to classify: docs/recipes.md has accuracies on real music.

audio and lists   $folder/corpus
features, model   $folder/scratch
predictions       $folder/output.txt
probabilities     $folder/probabilities.csv
figures           $folder/figures
folds             $folder/folds
all systems       $folder/compared/report.html
END
if [[ -n ${DISPLAY:-}${WAYLAND_DISPLAY:-} ]] && command -v xdg-open >/dev/null; then
    xdg-open "$folder/compared/report.html" >/dev/null 2>&1 &
fi
