"""Small shell-script systems, lists for them, and the results of their cross-validations."""

import json
import shlex
from pathlib import Path

TRACKS = [f"/none/{label}_{number:02}.wav" for number in range(6) for label in ("rock", "jazz")]

# The scripts of a submission that is always correct: file names begin with the label. Each step adds a line to
# `called`, and checks the files of earlier steps in its scratch folder.
NOTE = 'echo "$(basename "$0") $*" >> "$(dirname "$0")/../called"\n'
EXTRACT = 'cp "$4" "$3/features"\n'
TRAIN = 'for last; do :; done\ngrep -q rock_00 "$3/features" && [ ! -e "$3/model" ]\ncp "$last" "$3/model"\n'
ANSWER = """answer() { while read -r path; do name=${path##*/}; printf '%s\\t%s\\n' "$path" "${name%%_*}"; done; }
"""
CLASSIFY = f'{ANSWER}! grep -qFf "$4" "$3/model"\nanswer < "$4" > "$5"\n'
GOOD = {"extractFeatures.sh": EXTRACT, "train.sh": TRAIN, "classify.sh": CLASSIFY}


def write_lists(folder, labelled, n_folds=3):
    folder.mkdir()
    (folder / "features.txt").write_text("".join(f"{path}\n" for path, _ in labelled))
    for k in range(n_folds):
        # Each fold tests pairs of tracks, one of each class.
        test = [pair for n, pair in enumerate(labelled) if n // 2 % n_folds == k]
        train = [pair for pair in labelled if pair not in test]
        (folder / f"fold{k + 1}.train.txt").write_text("".join(f"{path}\t{label}\n" for path, label in train))
        (folder / f"fold{k + 1}.truth.txt").write_text("".join(f"{path}\t{label}\n" for path, label in test))
        (folder / f"fold{k + 1}.test.txt").write_text("".join(f"{path}\n" for path, _ in test))


def called(tmp_path, name="good"):
    """Return the scripts that were called, with their fold: ["train.sh fold1", ...]."""
    lines = (tmp_path / name / "called").read_text().splitlines()
    steps = []
    for line in lines:
        script, *args = shlex.split(line)
        [fold] = {Path(arg).name.partition(".")[0] for arg in args if "/lists/" in arg}
        steps.append(f"{script} {fold}")
    return steps


def runs(tmp_path):
    return json.loads((tmp_path / "out" / "runs.json").read_text())


def accuracies(tmp_path):
    systems = json.loads((tmp_path / "out" / "results.json").read_text())["systems"]
    return {system["name"]: [fold["n_right"] for fold in system["folds"]] for system in systems}


ALL_CALLS = ["extractFeatures.sh features"] + [
    f"{script}.sh fold{k}" for k in (1, 2, 3) for script in ("train", "classify")
]
