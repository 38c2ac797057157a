"""The calls of the scripts as an evaluator makes them: lists in, one line per test track out, and a reliable status."""

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import wait_for
from project import PROJECT

QUICK = ("--epochs", "2", "--segments-per-track", "8")


def lines_of(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An empty home folder, which must remain empty."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory, home):
    """Run train.sh with three arguments and classify.sh; return the folder and the logs of both."""
    folder = tmp_path_factory.mktemp("straight")
    env = {**os.environ, "MIREX_PYTHON": sys.executable, "HOME": str(home)}
    logs = []
    for script, *args in (
        ("train.sh", *QUICK, folder / "scratch", corpus["features"], corpus["train"]),
        ("classify.sh", "--probabilities", folder / "p.csv", folder / "scratch", corpus["test"], folder / "out.txt"),
    ):
        command = [str(PROJECT / "bin" / script), *map(str, args)]
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        logs.append(done.stderr)
    return folder, logs


def test_the_output_has_every_test_path_as_spelled_in_order_with_a_label_of_the_training_list(straight, corpus):
    pairs = [line.split("\t") for line in lines_of(straight[0] / "out.txt")]
    assert [path for path, _ in pairs] == lines_of(corpus["test"])
    assert {label for _, label in pairs} <= {line.split("\t")[1] for line in lines_of(corpus["train"])}


def test_the_accuracy_is_better_than_chance(straight, corpus):
    right = set(lines_of(straight[0] / "out.txt")) & set(lines_of(corpus["truth"]))
    assert len(right) > len(lines_of(corpus["test"])) / 4, "no better than chance for four classes"


def test_the_log_has_progress_and_a_summary_with_time_and_memory(straight):
    train, classify = straight[1]
    for figures in ("22050 Hz", "24 tracks", "2 epochs", "model 2 on 16 of 16 tracks"):
        assert figures in train
    for log in (train, classify):
        assert re.search(r"\d s, .*\d MiB", log.splitlines()[-1])
        assert "Traceback" not in log and "I0000" not in log


def test_nothing_is_written_outside_scratch_and_output(straight, home):
    assert list(home.iterdir()) == []
    assert sorted(p.name for p in straight[0].iterdir()) == ["out.txt", "p.csv", "scratch"]


def test_the_same_lists_and_seed_give_the_same_bytes_with_separate_extraction(straight, corpus, run_script, tmp_path):
    scratch = tmp_path / "scratch"
    calls = (
        ("extractFeatures.sh", "-numThreads", 1, scratch, corpus["features"]),
        ("train.sh", *QUICK, "--no-picture", scratch, corpus["train"]),
        ("classify.sh", "--probabilities", tmp_path / "p.csv", scratch, corpus["test"], tmp_path / "out.txt"),
    )
    for script, *args in calls:
        done = run_script(script, *args)
        assert done.returncode == 0, done.stderr
    for name in ("out.txt", "p.csv"):
        assert (tmp_path / name).read_bytes() == (straight[0] / name).read_bytes()


def test_train_and_classify_in_one_call_with_blanks_and_non_ascii_letters_in_every_path(
    straight, corpus, run_script, tmp_path
):
    """The script is called by a symbolic link, from another folder, with relative paths and new output folders."""
    here = tmp_path / "Zwölf Töne"
    here.mkdir()
    names = {}
    for path in lines_of(corpus["features"]):
        names[path] = f"Áudio é/{Path(path).stem} ♫.wav"
        (here / names[path]).parent.mkdir(exist_ok=True)
        shutil.copy(path, here / names[path])
    train = [line.split("\t") for line in lines_of(corpus["train"])]
    (here / "train list.txt").write_text("".join(f"{names[p]}\t{x} & ünlü\n" for p, x in train), encoding="utf-8")
    test = [names[path] for path in lines_of(corpus["test"])]
    (here / "tëst.txt").write_text("".join(f"{path}\n" for path in test), encoding="utf-8")
    link = here / "löuf los.sh"
    link.symlink_to(PROJECT / "bin" / "trainAndClassify.sh")
    done = run_script(
        link, *QUICK, "--no-picture", "scrätch é", "train list.txt", "tëst.txt", "neu/a b/öut.txt", cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"WARNING: train list\.txt: ", done.stderr)  # the evaluator splits a line at white space
    # The same audio with other names gets the same classes.
    expected = [line.split("\t")[1] for line in lines_of(straight[0] / "out.txt")]
    assert lines_of(here / "neu/a b/öut.txt") == [f"{p}\t{x} & ünlü" for p, x in zip(test, expected, strict=True)]


def test_the_project_folder_may_be_read_only(corpus, run_script, tmp_path):
    project = tmp_path / "project"
    for name in ("bin", "mirex_submission"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(project.rglob("*"))
    for path in [project, *before]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    env = {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run_script(project / "bin/extractFeatures.sh", tmp_path / "s", corpus["features"], env=env)
    assert done.returncode == 0, done.stderr
    assert sorted(project.rglob("*")) == before
    for path in [project, *before]:  # for the clean-up
        path.chmod(path.stat().st_mode | stat.S_IWUSR)


def take_sigint():
    """Restore SIGINT: a shell that runs the tests in the background makes them and their children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def endless_training(scratch, corpus, name):
    """Start a training, wait for its first checkpoint, and kill it when the block ends."""
    options = ("--epochs", "10000", "--segments-per-track", "4", "--checkpoint-every", "0", "--name", name)
    command = [str(PROJECT / "bin/train.sh"), *options, scratch, corpus["train"]]
    env = {**os.environ, "MIREX_PYTHON": sys.executable}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, preexec_fn=take_sigint) as process:
        try:
            wait_for(lambda: list((scratch / "models" / name).glob("*.checkpoint")))
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_the_status_of_the_signal(straight, corpus, number, status):
    scratch = straight[0] / "scratch"
    with endless_training(scratch, corpus, f"until{status}") as process:
        process.send_signal(number)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert " ERROR: " in rest.splitlines()[-1] and "Traceback" not in rest
    assert not [p for p in (scratch / "tmp").iterdir() if p.name.startswith(".mirex-tmp-")]


def test_a_second_training_of_the_same_name_is_refused_while_the_first_runs(straight, corpus, run_script):
    scratch = straight[0] / "scratch"
    with endless_training(scratch, corpus, "busy"):
        done = run_script("train.sh", "--name", "busy", scratch, corpus["train"])
    assert done.returncode == 2
    assert "[usage.locked]" in done.stderr


class TestPython:
    """The scripts find the right Python."""

    @pytest.fixture
    def project(self, tmp_path):
        shutil.copytree(PROJECT / "bin", tmp_path / "bin")
        return tmp_path

    def make_python(self, path, says):
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\necho "{says}" >&2\nexec "{sys.executable}" "$@"\n')
        path.chmod(0o755)

    def test_the_order_is_mirex_python_then_the_venv_then_python3(self, project, run_script):
        script = project / "bin/classify.sh"
        self.make_python(project / "path/python3", "from PATH")
        path = {"MIREX_PYTHON": "", "PATH": f"{project}/path:{os.environ['PATH']}"}
        assert "from PATH" in run_script(script, "--help", env=path).stderr
        self.make_python(project / ".venv/bin/python", "from .venv")
        assert "from .venv" in run_script(script, "--help", env=path).stderr
        done = run_script(script, "--help")
        assert done.returncode == 0
        assert done.stderr == ""

    def test_without_the_package_the_message_has_the_command_to_install_it(self, project, run_script):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / "bare"], check=True)
        python = project / "bare/bin/python"
        done = run_script(project / "bin/train.sh", "--help", env={"MIREX_PYTHON": str(python), "PYTHONPATH": ""})
        assert done.returncode == 2
        assert f"{python} -m pip install" in done.stderr

    def test_a_module_in_the_callers_folder_is_not_imported(self, run_script, tmp_path):
        (tmp_path / "mirex_submission.py").write_text("raise SystemExit('the wrong one')")
        assert run_script("train.sh", "--help", cwd=tmp_path).returncode == 0


class TestStatus:
    """The exit status is 0 only if everything was done; otherwise it names the kind of the problem."""

    def test_usage_is_2(self, run_script, tmp_path):
        assert run_script("classify.sh", tmp_path).returncode == 2

    def test_a_wrong_list_is_3_with_file_and_line_of_every_problem(self, run_script, tmp_path):
        (tmp_path / "train.txt").write_text("a.wav\tx\nno tab\n\nb.wav\t\n")
        done = run_script("train.sh", tmp_path / "s", tmp_path / "train.txt")
        assert done.returncode == 3
        assert re.search(rf"{tmp_path}/train\.txt:2: .*\[list\.no-tab\]", done.stderr)
        assert re.search(rf"{tmp_path}/train\.txt:4: .*\[list\.no-label\]", done.stderr)

    def test_too_many_unreadable_tracks_are_4_and_the_output_is_still_written(self, straight, run_script, tmp_path):
        soundfile.write(tmp_path / "silent.wav", np.zeros(22050), 22050)
        (tmp_path / "text.wav").write_text("no audio at all")
        test = [str(tmp_path / name) for name in ("silent.wav", "text.wav", "missing.wav")]
        (tmp_path / "test.txt").write_text("".join(f"{path}\n" for path in test))
        done = run_script("classify.sh", straight[0] / "scratch", tmp_path / "test.txt", tmp_path / "out.txt")
        assert done.returncode == 4
        assert [line.split("\t")[0] for line in lines_of(tmp_path / "out.txt")] == test
        for name, code in (("silent", "silent"), ("text", "undecodable"), ("missing", "unreadable")):
            assert len(re.findall(rf"{name}\.wav: .* \[audio\.{code}\]$", done.stderr, re.MULTILINE)) == 1

    def test_a_missing_model_is_5_and_says_what_to_do(self, corpus, run_script, tmp_path):
        done = run_script("classify.sh", tmp_path / "s", corpus["test"], tmp_path / "out.txt")
        assert done.returncode == 5
        assert re.search(r"bin/train\.sh .*\[model\.missing\]", done.stderr)
        assert not (tmp_path / "out.txt").exists()

    def test_a_scratch_folder_that_cannot_be_made_is_7(self, corpus, run_script, tmp_path):
        (tmp_path / "file").write_text("")
        done = run_script("extractFeatures.sh", tmp_path / "file/scratch", corpus["features"])
        assert done.returncode == 7
        assert re.search(rf"{tmp_path}/file/scratch: .*\[disk\.in-the-way\]", done.stderr)

    def test_an_output_that_cannot_be_written_is_7_before_classification(self, straight, corpus, run_script, tmp_path):
        done = run_script("classify.sh", straight[0] / "scratch", corpus["test"], tmp_path)
        assert done.returncode == 7
        assert re.fullmatch(rf".* ERROR: {tmp_path}: .*\[disk\.folder\]\n", done.stderr)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (["{scratch}", "{test}", "{test}"], "[usage.output]"),
            (["--probabilities", "{out}", "{scratch}", "{test}", "{out}"], "[usage.output]"),
            (["{scratch}", "{test}", "{scratch}/models/base/bundle.json"], "[usage.output]"),
            (["", "{test}", "{out}"], "SCRATCH"),
            (["{scratch}", "{test}", ""], "OUTPUT"),
        ],
    )
    def test_an_output_that_would_overwrite_another_file_is_2(self, corpus, run_script, tmp_path, arguments, text):
        test = shutil.copy(corpus["test"], tmp_path)
        names = {"scratch": tmp_path / "s", "test": test, "out": tmp_path / "out.txt"}
        done = run_script("classify.sh", *(argument.format(**names) for argument in arguments), cwd=tmp_path)
        assert done.returncode == 2
        assert text in done.stderr
        assert Path(test).read_bytes() == corpus["test"].read_bytes()
        assert [p.name for p in tmp_path.iterdir()] == ["test.txt"]

    def test_closed_standard_streams_are_allowed(self, corpus, tmp_path):
        command = f'"{PROJECT}/bin/extractFeatures.sh" "{tmp_path}/s" "{corpus["features"]}" <&- >&- 2>&-'
        env = {**os.environ, "MIREX_PYTHON": sys.executable}
        assert subprocess.run(["bash", "-c", command], env=env).returncode == 0
        assert list((tmp_path / "s").rglob("*.logmel"))


@pytest.mark.slow
def test_a_track_that_kills_its_process_does_not_affect_other_tracks(corpus, run_script, tmp_path):
    """As by a crash of the decoder or the out-of-memory killer: one track kills each worker that opens it."""
    many = [str(tmp_path / f"{k}.wav") for k in range(24)]
    for path in many:
        shutil.copy(lines_of(corpus["test"])[0], path)
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in many))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, soundfile\n"
        "opened = soundfile.SoundFile.__init__\n"
        "def crash(self, file, *args, **kwargs):\n"
        "    name = os.readlink(f'/proc/self/fd/{file}') if isinstance(file, int) else str(file)\n"
        "    if name.endswith('/20.wav') and 'loky' in ' '.join(open('/proc/self/cmdline').read().split('\\0')):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    opened(self, file, *args, **kwargs)\n"
        "soundfile.SoundFile.__init__ = crash\n"
    )
    arguments = ("-numThreads", 2, tmp_path / "s", tmp_path / "list.txt")
    done = run_script("extractFeatures.sh", *arguments, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{re.escape(many[20])}: .* \[audio\.crash\]$", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*.logmel")}
    assert len(stored) == len(many) - 1
    done = run_script("extractFeatures.sh", "--strict", *arguments)
    assert done.returncode == 0, done.stderr
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*.logmel")}
    assert len(again) == len(many) and stored.items() <= again.items()


def test_the_output_may_be_a_pipe(straight, corpus, run_script):
    done = run_script("classify.sh", "-q", straight[0] / "scratch", corpus["test"], "/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert done.stdout.encode() == (straight[0] / "out.txt").read_bytes()


def test_a_repeated_path_gets_two_equal_lines_and_a_training_track_a_warning(straight, corpus, run_script, tmp_path):
    known = lines_of(corpus["train"])[0].split("\t")[0]
    new = lines_of(corpus["test"])[0]
    (tmp_path / "test.txt").write_text(f"{new}\n{known}\n{new}\n")
    done = run_script("classify.sh", straight[0] / "scratch", tmp_path / "test.txt", tmp_path / "out.txt")
    assert done.returncode == 0, done.stderr
    first, second, third = lines_of(tmp_path / "out.txt")
    assert first == third and first.startswith(new) and second.startswith(known)
    assert re.search(rf"WARNING: 1 .*{known} \[list\.trained-track\]", done.stderr)
    assert re.search(r"test\.txt: 1 .*line 3 .*line 1 .*\[list\.duplicate\]", done.stderr)


@pytest.mark.parametrize(("script", "args"), [("demo.sh", ["--help"]), ("install.sh", [])])
def test_demo_and_install_with_wrong_arguments_print_only_their_usage(run_script, tmp_path, monkeypatch, script, args):
    monkeypatch.chdir(tmp_path)
    done = run_script(script, *args)
    assert done.returncode == 2 and done.stderr.startswith(f"usage: {script} ")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_demo_runs_from_a_clone_and_scores_well(tmp_path):
    """bin/demo.sh runs in the environment of the tests."""
    started = time.time()
    done = subprocess.run([PROJECT / "bin/demo.sh", tmp_path / "demo"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracies = {name: float(of) for name, of in re.findall(r"^(\w+) +([\d.]+)%", done.stdout, re.MULTILINE)}
    assert accuracies.keys() == {"ours", "paper", "modulation", "theirs"} and min(accuracies.values()) >= 75
    for name in ("output.txt", "probabilities.csv", "scratch/model/bundle.json", "compared/report.html"):
        assert (tmp_path / "demo" / name).stat().st_mtime >= started
