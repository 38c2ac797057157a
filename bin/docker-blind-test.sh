#!/usr/bin/env bash
# docker-blind-test.sh [--cpu|--gpu] [FOLDER]: builds the image and repeats a blind evaluation with it on a synthetic
# corpus: extracts, trains and classifies without network access, with a read-only root, as a user that the image does not
# know, with read-only audio and lists; then validates the output. FOLDER (default: a new one in /tmp) keeps every file.
# The exit status is that of the first step that fails.
set -euo pipefail

project=$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")
device=cpu
case ${1:-} in
--cpu | --gpu)
    device=${1#--}
    shift
    ;;
-h | --help)
    sed -n '2,5s/^# //p' -- "${BASH_SOURCE[0]}"
    exit 0
    ;;
-*)
    echo "usage: docker-blind-test.sh [--cpu|--gpu] [FOLDER]" >&2
    exit 2
    ;;
esac
folder=${1:-$(mktemp -d)}
python=${MIREX_PYTHON:-$project/.venv/bin/python}
[ -n "${MIREX_PYTHON:-}" ] || "$project/bin/install.sh" "$project/.venv"

step() {
    echo "== $*" >&2
}
step "bin/docker-build.sh --$device"
"$project/bin/docker-build.sh" "--$device"
mkdir -p -- "$folder"
folder=$(cd -- "$folder" && pwd)
corpus=$folder/corpus scratch=$folder/scratch results=$folder/results
step "a corpus of four styles, 12 clips each, in $corpus"
"$python" "$project/examples/synthetic_corpus.py" "$corpus"
mkdir -p -- "$scratch" "$results"
chmod -R a+rX -- "$corpus"
chmod 777 -- "$scratch" "$results" # the user in the container owns nothing here

call() {
    step "$@"
    "$project/bin/docker-run.sh" "--$device" --user 54321:54321 --read "$corpus" --write "$scratch" --write "$results" "$@"
}
call doctor --quiet
call extractFeatures "$scratch" "$corpus/features.txt"
call train --epochs 40 "$scratch" "$corpus/features.txt" "$corpus/train.txt"
call classify "$scratch" "$corpus/test.txt" "$results/output.txt"
call validate "$corpus/test.txt" "$corpus/train.txt" "$results/output.txt"
step "the held-out clips"
MIREX_PYTHON=$python "$project/bin/mirex-submission.sh" evaluate --truth "$corpus/truth.txt" \
    --system "ours=$results/output.txt" --out "$results/figures"
step "all steps passed; every file is in $folder"
