"""Cross-validations of small shell-script submissions, good and bad, and of our own submission."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import gone, wait_for
from shell_systems import ALL_CALLS, ANSWER, CLASSIFY, EXTRACT, GOOD, TRAIN, accuracies, called, runs, write_lists

from mirex_submission.evaluation.crossval.system import OWN_FOLDER, find
from mirex_submission.system.atomic import sha256


@pytest.mark.usefixtures("lists")
def test_a_submission_is_extracted_once_and_trained_and_classified_fold_by_fold(call, submission, tmp_path):
    folder = submission()
    status, stdout, stderr = call("--submission", f"Good={folder}", "-numThreads", "3")
    assert status == 0, stderr
    assert stdout.splitlines()[1].split()[:2] == ["Good", "100.00%"]
    assert called(tmp_path) == ALL_CALLS
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}
    assert all("-numThreads 3" in line for line in (tmp_path / "good" / "called").read_text().splitlines())


def test_runs_json_records_every_step(call, submission, tmp_path, lists):
    folder = submission()
    call("--submission", str(folder))
    record = runs(tmp_path)
    assert set(record) == {"systems", "versions", "lists", "started", "commands"}
    assert set(record["lists"]) == {str(path) for path in lists.iterdir()}
    assert record["commands"] == [f"mirex-submission crossval lists --scratch scratch --out out --submission {folder}"]
    assert "numpy" in record["versions"] and record["started"].startswith("20")
    system = record["systems"]["commands"]  # the folder's name
    assert system["command_dir"] == str(folder)
    assert list(system["folds"]) == ["fold1", "fold2", "fold3"]
    fold = system["folds"]["fold2"]
    assert (fold["probabilities"], fold["history"], fold["faults"]) == (None, None, [])
    output = tmp_path / "out" / fold["output"]
    assert output.read_text().count("\n") == 4
    assert fold["sha256"] == {"output": sha256(output), "probabilities": None, "history": None}
    assert [made["call"] for made in fold["calls"]] == ["train", "classify"]
    for made in (system["extraction"], *fold["calls"]):
        assert made["status"] == 0 and made["fault"] is None and made["attempts"] == 1
        assert made["seconds"] >= 0 and made["cpu_seconds"] >= 0 and made["peak_mb"] > 0
        assert Path(made["log"]).read_text() == f"$ {shlex.join(made['argv'])}\n"
    assert not list((tmp_path / "scratch/submissions").glob("*/folds/*"))  # copies go when they have served


@pytest.mark.usefixtures("lists")
def test_failures_of_a_submission_are_reported_and_the_others_continue(call, submission, tmp_path):
    good = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    only_fold_2 = 'case "$4" in *fold2*) {} ;; esac\n'.format
    systems = {
        "good": good,
        "fails": {**good, "train": only_fold_2("echo out of luck; exit 1") + TRAIN},
        "garbage": {**good, "classify": 'head -c 300 /bin/sh > "$5"\n'},
        "misses": {**good, "classify": CLASSIFY.replace('< "$4"', '< "$4" | head -3')},
        "silent": {**good, "classify": "echo nothing to say\n"},
        "unextracted": {**good, "extractFeatures": "exit 9\n"},
        "halfway": {**good, "classify": CLASSIFY + only_fold_2("exit 1")},
        "capital": {"Train": 'cp "$4" "$3/model"\n', "Classify": CLASSIFY},
        "both": {"extractFeatures": EXTRACT, "trainAndClassify": f'{ANSWER}grep -q rock "$4"\nanswer < "$5" > "$6"\n'},
    }
    options = [f"--submission={name}={submission(name, **scripts)}" for name, scripts in systems.items()]
    status, stdout, stderr = call(*options)
    assert status == 8
    assert len(stdout.splitlines()) == 1 + len(systems)
    assert accuracies(tmp_path) == {
        "good": [4, 4, 4],
        "fails": [4, 0, 4],
        "garbage": [0, 0, 0],
        "misses": [3, 3, 3],
        "silent": [0, 0, 0],
        "unextracted": [0, 0, 0],
        "halfway": [4, 0, 4],
        "capital": [4, 4, 4],
        "both": [4, 4, 4],
    }
    errors = [line.partition("ERROR: ")[2] for line in stderr.splitlines() if "ERROR" in line]
    assert {line.split(":")[0] for line in errors} == {
        *(f"{name} fold{k}" for name in ("garbage", "misses", "silent", "unextracted") for k in (1, 2, 3)),
        "fails fold2",
        "halfway fold2",
    }
    faults = {
        name: [fold["faults"][0] if fold["faults"] else "" for fold in system["folds"].values()]
        for name, system in runs(tmp_path)["systems"].items()
    }
    assert faults["fails"][1].startswith("train: status 1; last line of its log ") and faults["fails"][1].endswith(
        "out of luck [crossval.status]"
    )
    assert re.search(r"/none/jazz_03\.wav.*\[output\.missing-track\]", faults["misses"][0])
    assert faults["silent"][2].endswith("nothing to say [crossval.no-output]")
    assert faults["unextracted"][0].startswith("extract: status 9")
    assert "garbage/outputs/fold1.txt:1: " in faults["garbage"][0]
    assert [faults[name] for name in ("good", "capital", "both")] == [[""] * 3] * 3
    assert runs(tmp_path)["systems"]["capital"]["extraction"] is None
    halfway = tmp_path / "out/halfway/outputs"
    assert sorted(path.name for path in halfway.iterdir()) == ["fold1.txt", "fold2.txt.failed", "fold3.txt"]
    assert [line.split()[0] for line in (tmp_path / "both/called").read_text().splitlines()] == [
        "extractFeatures.sh",
        *["trainAndClassify.sh"] * 3,
    ]


@pytest.mark.usefixtures("lists")
def test_a_hanging_step_is_stopped_with_its_child_and_the_next_folds_run(call, submission, tmp_path):
    hang = f'case "$4" in *fold2*) sleep 1000 & echo $! > {tmp_path}/pid; wait ;; esac\n'
    scripts = {"train": hang + 'cp "$4" "$3/model"\n', "classify": CLASSIFY}
    status, _, stderr = call("--submission", str(submission(**scripts)), "--time-limit", "5s")
    assert status == 8
    assert re.search(r"commands fold2: train: .*5 s.*\[crossval\.time-limit\]", stderr)
    assert "train.sh fold3" in called(tmp_path)
    wait_for(lambda: gone(int((tmp_path / "pid").read_text())))


# Finished steps are not repeated.


def test_a_finished_step_is_not_repeated_as_long_as_nothing_has_changed(call, submission, tmp_path, lists):
    folder = submission()
    args = ("--submission", f"Good={folder}")
    made = tmp_path / "good" / "called"

    def again():
        made.write_text("")
        status, _, stderr = call(*args)
        assert status == 0, stderr
        assert accuracies(tmp_path) == {"Good": [4, 4, 4]}
        return called(tmp_path)

    made.write_text("")
    assert again() == ALL_CALLS
    first = runs(tmp_path)
    assert again() == []
    assert {**runs(tmp_path), "started": 0} == {**first, "started": 0}
    (tmp_path / "out/Good/outputs/fold2.txt").unlink()
    assert again() == ["train.sh fold2", "classify.sh fold2"]
    (tmp_path / "out/Good/outputs/fold1.txt").write_text("changed\n")
    assert again() == ["train.sh fold1", "classify.sh fold1"]
    (lists / "fold3.test.txt").write_text("".join(reversed((lists / "fold3.test.txt").read_text().splitlines(True))))
    assert again() == ["train.sh fold3", "classify.sh fold3"]
    (lists / "features.txt").write_text("".join(reversed((lists / "features.txt").read_text().splitlines(True))))
    assert again() == ALL_CALLS
    (folder / "beside.txt").write_text("what a script may read")
    assert again() == ALL_CALLS


@pytest.mark.usefixtures("lists")
def test_options_of_a_system_go_to_its_training_and_other_options_are_another_step(call, submission, tmp_path):
    train = 'while [ $# -gt 2 ]; do shift; done\ncp "$2" "$1/model"\n'
    folder = submission(extractFeatures=EXTRACT, train=train, classify=CLASSIFY)
    systems = ("--submission", f"Plain={folder}", "--submission", f"More={folder}", "-numThreads", "5")
    more = ("--train-options", "More=--epochs 3 --word 'a b'", "--train-options", "More=-x")
    status, _, stderr = call(*systems, *more)
    assert status == 0, stderr

    def argv(name, call):
        fold = runs(tmp_path)["systems"][name]["folds"]["fold2"]
        return next(made["argv"] for made in fold["calls"] if made["call"] == call)

    assert argv("More", "train")[1:-2] == ["-numThreads", "5", "--epochs", "3", "--word", "a b", "-x"]
    assert argv("Plain", "train")[1:-2] == argv("More", "classify")[1:-3] == ["-numThreads", "5"]
    (tmp_path / "good/called").write_text("")
    assert call(*systems, *more[:2])[0] == 0
    assert called(tmp_path) == ALL_CALLS[1:]


@pytest.mark.usefixtures("lists")
def test_systems_of_one_folder_share_the_extraction_and_have_their_own_trainings_and_options(
    call, submission, tmp_path
):
    classify = 'shift 2; if [ "$1" = --wrong ]; then shift; set -- "$1" /dev/null "$3"; fi\n'
    classify += f'{ANSWER}answer < "$2" > "$3"\n'
    folder = submission(extractFeatures=EXTRACT, train='cp "$4" "$3/model"\n', classify=classify)
    systems = ("--submission", f"Right={folder}", "--submission", f"Wrong={folder}")
    status, _, stderr = call(*systems, "--classify-options", "Wrong=--wrong")
    assert status == 8 and "Wrong fold3: " in stderr
    assert accuracies(tmp_path) == {"Right": [4, 4, 4], "Wrong": [0, 0, 0]}
    assert called(tmp_path) == ALL_CALLS + ALL_CALLS[1:]


@pytest.mark.usefixtures("lists")
def test_only_failed_steps_are_repeated(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    scripts["classify"] = f'case "$4" in *fold2*) [ -e {tmp_path}/mended ] ;; esac\n{CLASSIFY}'
    args = ("--submission", f"Good={submission(**scripts)}")
    assert call(*args)[0] == 8
    assert list((tmp_path / "scratch/submissions").glob("commands-*/folds/Good.fold2/model"))
    (tmp_path / "mended").touch()
    (tmp_path / "good/called").write_text("")
    assert call(*args)[0] == 0
    assert called(tmp_path) == ["classify.sh fold2"]  # its training is still there
    assert runs(tmp_path)["systems"]["Good"]["folds"]["fold2"]["calls"][1]["attempts"] == 2
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}


@pytest.mark.usefixtures("lists")
def test_an_earlier_output_is_not_mistaken_for_the_output_of_a_step(call, submission, tmp_path):
    args = ("--submission", f"Good={submission()}")
    assert call(*args)[0] == 0
    submission(**{name.removesuffix(".sh"): text for name, text in GOOD.items()} | {"classify": "exit 0\n"})
    assert call(*args)[0] == 8
    assert accuracies(tmp_path) == {"Good": [0, 0, 0]}
    [problem] = runs(tmp_path)["systems"]["Good"]["folds"]["fold1"]["faults"]
    assert problem.startswith("classify: ") and problem.endswith("[crossval.no-output]")


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("number", "status", "jobs"),
    [
        (signal.SIGTERM, 143, "2"),
        pytest.param(signal.SIGTERM, 143, "1", marks=pytest.mark.slow),
        *(pytest.param(signal.SIGKILL, -9, jobs, marks=pytest.mark.slow) for jobs in "12"),
        *(pytest.param(signal.SIGINT, 130, jobs, marks=pytest.mark.slow) for jobs in "12"),
    ],
    ids=str,
)
def test_an_interrupted_run_stops_its_steps_and_resumes(submission, tmp_path, number, status, jobs):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    wait = f"[ -e {tmp_path}/go ] || {{ touch $3/half; sleep 1000 & echo $! > {tmp_path}/pid; wait; }}"
    scripts["train"] = f'[ ! -e $3/half ]\ncase "$4" in *fold2*) {wait} ;; esac\n{TRAIN}'
    command = [sys.executable, "-m", "mirex_submission", "crossval", "lists", "--scratch", "scratch", "--out", "out"]
    folder = submission(**scripts)
    command += ["--submission", f"Good={folder}", "--jobs", jobs]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        records = tmp_path / "scratch/submissions" / find(folder).home / "steps"
        ended = [records / f"Good.fold{k}.classify.json" for k in ((1,) if jobs == "1" else (1, 3))]
        written = {tmp_path / "pid": "\n", **dict.fromkeys(ended, '"left"')}
        wait_for(lambda: process.poll() or all(p.exists() and end in p.read_text() for p, end in written.items()))
        process.send_signal(number)
        _, stderr = process.communicate()
    assert process.returncode == status, stderr
    wait_for(lambda: gone(int((tmp_path / "pid").read_text())))
    (tmp_path / "go").touch()
    before = called(tmp_path)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}
    assert called(tmp_path)[len(before) :][:2] == ["train.sh fold2", "classify.sh fold2"]
    assert {"extractFeatures.sh features", "train.sh fold1", "classify.sh fold1"}.isdisjoint(
        called(tmp_path)[len(before) :]
    )
    assert runs(tmp_path)["systems"]["Good"]["folds"]["fold2"]["calls"][0]["attempts"] == 2


@pytest.mark.usefixtures("lists")
def test_earlier_outputs_do_not_count_if_the_extraction_fails(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    args = ("--submission", f"Good={submission(**scripts)}")
    assert call(*args)[0] == 0
    submission(**{**scripts, "extractFeatures": "exit 1\n"})
    assert call(*args)[0] == 8
    assert accuracies(tmp_path) == {"Good": [0, 0, 0]}


@pytest.mark.usefixtures("lists")
def test_another_extraction_starts_with_an_empty_scratch_folder(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    once = '[ ! -e "$3/features" ] && cp "$4" "$3/features"\n'
    args = ("--submission", f"Good={submission(**{**scripts, 'extractFeatures': once})}")
    assert call(*args)[0] == 0
    submission(**{**scripts, "extractFeatures": once + "# another version\n"})
    assert call(*args)[0] == 0


@pytest.mark.usefixtures("lists")
def test_extra_files_and_links_of_a_system_do_no_harm(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    beside = submission("beside", **{**scripts, "classify": f'{CLASSIFY}echo 1 > "${{5%.txt}}.scores.txt"\n'})
    classify = f'{ANSWER}! grep -qFf "$4" "$3/model"\nanswer < "$4" > "$3/result"\nln -sf "$3/result" "$5"\n'
    linked = submission("linked", **{**scripts, "classify": classify})
    args = ("--submission", f"Beside={beside}", "--submission", f"Linked={linked}")
    for _ in range(2):
        status, _, stderr = call(*args)
        assert status == 0, stderr
        assert accuracies(tmp_path) == {"Beside": [4, 4, 4], "Linked": [4, 4, 4]}
    assert stderr.count("already done") == 8


@pytest.mark.usefixtures("lists")
def test_other_lists_beside_those_of_the_folds_do_not_count(call, submission, tmp_path, lists):
    (lists / "truth.txt").write_text((lists / "fold1.truth.txt").read_text())
    for fold in ("fold1", "fold2"):  # one name within the other
        for part in ("train", "test", "truth"):
            (lists / f"{fold}.{part}.txt").rename(lists / f"mood{'2' * (fold == 'fold2')}.{part}.txt")
    status, _, stderr = call("--submission", f"Good={submission()}")
    assert status == 0, stderr
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}


@pytest.mark.usefixtures("lists")
def test_a_folder_of_scripts_that_changes_itself_gives_a_warning(call, submission):
    train = f'date +%N >> "$(dirname "$0")/diary.txt"\n{TRAIN}'
    folder = submission(**{**{name.removesuffix(".sh"): text for name, text in GOOD.items()}, "train": train})
    status, _, stderr = call("--submission", str(folder))
    assert status == 0
    assert re.search(rf"{folder}: .*\[crossval\.changed-submission\]", stderr)


@pytest.mark.usefixtures("lists")
def test_a_damaged_record_is_ignored_and_control_characters_of_a_log_stay_in_it(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    red = r"printf '\033[31mred'; exit 5"
    args = ("--submission", f"Good={submission(**{**scripts, 'classify': red})}")
    status, _, stderr = call(*args)
    assert status == 8 and r"\x1b[31mred" in stderr and "\x1b" not in stderr
    for record, damage in zip((tmp_path / "scratch").rglob("steps/*.json"), ("[]", "{", '{"key": 1}'), strict=False):
        record.write_text(damage)
    submission(**scripts)
    assert call(*args)[0] == 0


@pytest.mark.usefixtures("lists")
def test_strict_does_not_hide_that_a_submission_failed(call, submission, tmp_path):
    scripts = {name.removesuffix(".sh"): text for name, text in GOOD.items()}
    half = submission(**{**scripts, "classify": CLASSIFY.replace('answer < "$4"', 'head -1 "$4" | answer')})
    status, _, stderr = call("--strict", "--submission", f"Half={half}")
    assert status == 8 and "Half fold3: " in stderr


# Folds in parallel.


@pytest.mark.usefixtures("lists")
def test_parallel_folds_have_their_own_scratch_folders(call, submission, tmp_path):
    meet = f"touch {tmp_path}/here.$$\nwhile [ $(ls {tmp_path} | grep -c here) -lt 3 ]; do sleep 0.05; done\n"
    scripts = {"extractFeatures": EXTRACT, "train": meet + TRAIN, "classify": CLASSIFY}
    status, _, stderr = call("--submission", f"Good={submission(**scripts)}", "--jobs", "3", "--time-limit", "2m")
    assert status == 0, stderr
    assert accuracies(tmp_path) == {"Good": [4, 4, 4]}
    # Another number of parallel folds does not repeat any step.
    (tmp_path / "good/called").write_text("")
    assert call("--submission", f"Good={tmp_path}/good/commands", "--jobs", "1")[0] == 0
    assert called(tmp_path) == []


SHOW_GPU = 'echo "gpu ${CUDA_VISIBLE_DEVICES-unset}"\n'


def gpus_of(tmp_path):
    """Return the GPUs that the training of each fold could see."""
    logs = sorted((tmp_path / "out/Good/logs").glob("*.train.log"))
    return [next(line for line in log.read_text().splitlines() if line.startswith("gpu ")) for log in logs]


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("jobs", "visible", "options", "seen"),
    [
        ("3", None, [], {"gpu GPU-a", "gpu GPU-b"}),
        ("3", "4,7,9", [], {"gpu 4", "gpu 7", "gpu 9"}),
        ("3", "4", [], {"gpu 4"}),
        ("1", None, [], {"gpu unset"}),
        ("3", None, ["--device", "cpu"], {"gpu -1"}),
    ],
)
def test_with_several_gpus_each_fold_gets_one(call, submission, tmp_path, monkeypatch, jobs, visible, options, seen):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/nvidia-smi").write_text("#!/bin/sh\necho GPU-a\necho GPU-b\n")
    (tmp_path / "tools/nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    meet = f"touch {tmp_path}/here.$$\nwhile [ $(ls {tmp_path} | grep -c here) -lt {jobs} ]; do sleep 0.05; done\n"
    scripts = {"train": SHOW_GPU + meet + 'cp "$4" "$3/model"\n', "classify": CLASSIFY}
    args = ("--submission", f"Good={submission(**scripts)}", "--jobs", jobs, "--time-limit", "2m", *options)
    status, _, stderr = call(*args)
    assert status == 0, stderr
    assert set(gpus_of(tmp_path)) == seen


@pytest.mark.usefixtures("lists")
def test_steps_have_the_callers_environment(submission, tmp_path):
    scripts = {"train": 'env; cp "$4" "$3/model"\n', "classify": CLASSIFY}
    command = [sys.executable, "-m", "mirex_submission", "crossval", "lists", "--scratch", "scratch", "--out", "out"]
    given = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "KERAS_"))}
    given = {**given, "OPENBLAS_NUM_THREADS": "7", "PYTHONSAFEPATH": "1"}
    given.pop("MIREX_PYTHON", None)
    subprocess.run([*command, "--submission", f"Good={submission(**scripts)}"], cwd=tmp_path, env=given, check=True)
    seen = (tmp_path / "out/Good/logs/fold1.train.log").read_text().splitlines()
    assert {"OPENBLAS_NUM_THREADS=7", f"MIREX_PYTHON={sys.executable}"} <= set(seen)
    assert not [line for line in seen if line.startswith(("OMP_", "KERAS_", "MPLCONFIGDIR", "PYTHONSAFEPATH"))]


# Refused before any step runs.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--submission", "none"], "crossval.unreadable-submission"),
        (["--submission", "A=good/commands", "--submission", "A=good/commands"], "usage.system-twice"),
        (["--submission", "../A=good/commands"], "usage.system-name"),
        (["--submission", "good/commands", "--train-options", "B=--epochs 3"], "crossval.unknown-system"),
        (["--submission", "good/commands", "--classify-options", "B=--vote mean"], "crossval.unknown-system"),
        (["--submission", "both", "--classify-options", "both=-x"], "crossval.no-script"),
        (["--train-options", "--epochs 3"], "--train-options"),
        (["--train-options", "A='"], "--train-options"),
        (["--jobs", "0"], "--jobs"),
        (["--seed", "-1"], "--seed"),
        (["--time-limit", "0s"], "--time-limit"),
        (["--submission", "runs.json=good/commands"], "usage.system-name"),
        (["--train-options", "mirex_submission=--name x"], "crossval.own-option"),
        (["--classify-options", "mirex_submission=--probabilities=x"], "crossval.own-option"),
        (["--time-limit", "soon"], "--time-limit"),
    ],
)
@pytest.mark.usefixtures("lists")
def test_wrong_arguments_are_a_usage_error(call, submission, tmp_path, options, expected):
    submission()
    (tmp_path / "both").mkdir()
    (tmp_path / "both/trainAndClassify.sh").touch(0o755)
    status, _, stderr = call(*options)
    assert status == 2
    assert f"[{expected}]" in stderr or f"argument {expected}: " in stderr
    assert not (tmp_path / "scratch").exists()


def test_a_fold_name_that_cannot_be_a_model_name_is_refused_before_any_step_runs(call, lists, tmp_path):
    for part in ("train", "test", "truth"):
        (lists / f"fold1.{part}.txt").rename(lists / f"a b.{part}.txt")
    status, _, stderr = call()
    assert status == 2 and "[crossval.fold-name]" in stderr
    assert not (tmp_path / "scratch").exists()


def test_wrong_lists_are_status_3_before_any_step_runs(call, submission, tmp_path, lists):
    (lists / "fold3.truth.txt").unlink()
    status, _, stderr = call("--submission", str(submission()))
    assert status == 3
    assert re.search(rf"ERROR: {lists}/fold3\.truth\.txt: .*\[list\.unreadable\]", stderr)
    assert not (tmp_path / "good/called").exists()


@pytest.mark.usefixtures("lists")
def test_a_second_run_on_a_scratch_folder_is_refused(call, submission, tmp_path):
    args = ("--submission", f"Good={submission()}")
    (tmp_path / "scratch").mkdir()
    lock = "import fcntl, sys; f = open('scratch/.lock', 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{lock}; sys.stdin.read()"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        holder.stdout.readline()
        status, _, stderr = call(*args)
        assert (status, "[crossval.locked]" in stderr) == (2, True)
        holder.stdin.close()
    assert call(*args)[0] == 0


# Our own submission.


def table(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_our_own_submission_has_probabilities_and_a_history_of_each_fold(call, corpus, tmp_path):
    labelled = [line.split("\t") for line in corpus["truth"].read_text().splitlines()]
    write_lists(tmp_path / "lists", sorted(labelled, key=lambda pair: Path(pair[0]).name[::-1]), n_folds=2)
    options = "ours=--epochs 1 --segments-per-track 2 --model 1 --no-picture"
    status, _, stderr = call("--submission", f"ours={OWN_FOLDER}", "--train-options", options, "-numThreads", "1")
    assert status == 0, stderr
    for name, fold in runs(tmp_path)["systems"]["ours"]["folds"].items():
        tested = (tmp_path / f"lists/{name}.test.txt").read_text().splitlines()
        assert [row["path"] for row in table(tmp_path / "out" / fold["probabilities"])] == tested
        assert [row["epoch"] for row in table(tmp_path / "out" / fold["history"])] == ["1"]


@pytest.mark.slow
def test_our_own_submission_keeps_each_folds_model_probabilities_and_history(run_script, corpus, tmp_path):
    labelled = [line.split("\t") for name in ("train", "truth") for line in corpus[name].read_text().splitlines()]
    write_lists(tmp_path / "lists", sorted(labelled, key=lambda pair: Path(pair[0]).name[::-1]), n_folds=2)
    options = ["--epochs", "2", "--segments-per-track", "8", "--model", "all", "--no-picture"]
    args = ["lists", "--scratch", "scratch", "--jobs", "2", "-numThreads", "1"]
    for name in ("all", "second"):
        args += ["--submission", f"{name}={OWN_FOLDER}", "--train-options", f"{name}={shlex.join(options)}"]
    args += ["--classify-options", "second=--model 2"]
    done = run_script("mirex-submission.sh", "crossval", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Both systems share the extraction and one training per fold.
    again = sorted(re.findall(r"second (.+): already done", done.stderr))
    assert again == ["extract", "fold1 train", "fold2 train"]
    results = tmp_path / "scratch/results"
    systems = json.loads((results / "runs.json").read_text())["systems"]
    record = systems["all"]
    assert record["extraction"]["call"] == "extract"
    for name, fold in record["folds"].items():
        other = systems["second"]["folds"][name]
        assert (other["calls"][0], other["calls"][1]["argv"][-5:-3]) == (fold["calls"][0], ["--model", "2"])
        assert table(results / other["probabilities"]) != table(results / fold["probabilities"])
        train = fold["calls"][0]["argv"]
        model = train[train.index("--name") + 1]
        assert model.startswith(f"{name}-") and options == train[-9:-2]
        rows = table(results / fold["history"])
        assert len(rows) == 6 and set(rows[0]) == {"model", "epoch", "loss", "accuracy"}
        tested = (tmp_path / f"lists/{name}.test.txt").read_text().splitlines()
        assert [row["path"] for row in table(results / fold["probabilities"])] == tested
        [home] = (tmp_path / "scratch/submissions").iterdir()
        assert (home / "scratch/models" / model / "bundle.json").exists()
    assert run_script("mirex-submission.sh", "crossval", *args, cwd=tmp_path).stderr.count("already done") == 6
    # A removed model is trained again, with the same result.
    (home / "scratch/models" / model / "bundle.json").unlink()
    (results / "second/outputs/fold2.txt").unlink()
    again = run_script("mirex-submission.sh", "crossval", *args, cwd=tmp_path)
    assert again.returncode == 0 and again.stderr.count("already done") == 5
    assert (
        json.loads((results / "runs.json").read_text())["systems"]["second"]["folds"]["fold2"]["sha256"]
        == (other["sha256"])
    )


@pytest.mark.usefixtures("lists")
def test_recipes_are_systems_of_their_names(call, tmp_path):
    """The tracks do not exist: only the steps are checked."""
    assert call("--recipe", "paper", "--recipe", "modulation")[0] == 8
    systems = runs(tmp_path)["systems"]
    assert list(systems) == ["paper", "modulation"]
    assert all(["--recipe", name] == system["extraction"]["argv"][3:5] for name, system in systems.items())


@pytest.mark.slow
def test_recipes_are_systems_of_their_names_with_their_own_features(run_script, corpus, tmp_path):
    labelled = [line.split("\t") for name in ("train", "truth") for line in corpus[name].read_text().splitlines()]
    write_lists(tmp_path / "lists", sorted(labelled, key=lambda pair: Path(pair[0]).name[::-1]), n_folds=2)
    options = ["--epochs", "2", "--segments-per-track", "8", "--no-picture"]
    args = ["lists", "--scratch", "scratch", "--recipe", "paper", "--recipe", "modulation"]
    args += ["--train-options", f"paper={shlex.join(options)}"]
    done = run_script("mirex-submission.sh", "crossval", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    systems = json.loads((tmp_path / "scratch/results/runs.json").read_text())["systems"]
    assert list(systems) == ["paper", "modulation"]
    for name, system in systems.items():
        assert ["--recipe", name] == system["extraction"]["argv"][3:5]
        assert all((fold["history"] is not None) == (name == "paper") for fold in system["folds"].values())
    assert {folder.name[:3] for folder in tmp_path.glob("scratch/submissions/*/scratch/features/*hz*")} == {
        "mel", "vqt", "220",
    }  # fmt: skip
    assert run_script("mirex-submission.sh", "crossval", *args, cwd=tmp_path).stderr.count("already done") == 6
    assert run_script("mirex-submission.sh", "report", "scratch/results", cwd=tmp_path).returncode == 0


def test_probabilities_that_another_system_writes_beside_its_output_are_scored(call, lists, submission, tmp_path):
    program = 'BEGIN { print "path,rock,jazz" } { print $0 ($NF ~ /^rock/ ? ",0.75,0.25" : ",0.25,0.75") }'
    table = f"""awk -F/ '{program}' "$4" """
    folder = submission(
        **{k[:-3]: v for k, v in GOOD.items()} | {"classify": f'{CLASSIFY}{table} > "${{5%.txt}}.csv"\n'}
    )
    assert call("--submission", f"A={folder}")[0] == 0
    [system] = json.loads((tmp_path / "out" / "results.json").read_text())["systems"]
    assert system["parts"][0]["n_known"] == 12
    assert system["parts"][0]["figures"]["brier_score"]["value"] == 2 * 0.25**2
    fold = runs(tmp_path)["systems"]["A"]["folds"]["fold1"]
    assert fold["probabilities"] == "A/outputs/fold1.csv" and fold["sha256"]["probabilities"]
    # A later run without probabilities does not use those of this one.
    assert call("--submission", f"A={submission()}")[0] == 0
    assert not json.loads((tmp_path / "out" / "results.json").read_text())["systems"][0]["parts"]


def test_wrong_groups_are_refused_before_the_first_step(call, lists, submission, tmp_path):
    (tmp_path / "groups.txt").write_text("/elsewhere.wav\tx\n")
    status, _, stderr = call("--submission", f"A={submission()}", "--groups", "groups.txt")
    assert (status, "[usage.tags]" in stderr, (tmp_path / "good" / "called").exists()) == (2, True, False)
