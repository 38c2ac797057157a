"""The command line: its help, its statuses, what it loads and what it says where."""

import functools
import json
import os
import platform
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import mirex_submission
from mirex_submission.features.extraction import extract
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.system.environment import default_threads
from mirex_submission.system.workers import Workers

COMMANDS = (
    "extract", "train", "classify", "train-and-classify", "features", "folds", "validate", "crossval", "evaluate",
    "report", "check", "completion", "doctor", "export",
)  # fmt: skip
HEAVY = {
    "tensorflow", "keras", "numpy", "scipy", "joblib", "soundfile", "soxr", "matplotlib", "dask",
    "distributed", "jinja2", "ray", "sklearn", "mirdata", "shtab",
    "onnx", "onnxruntime", "tf2onnx",
}  # fmt: skip
# What each option of train says is its default: the paper's.
PAPER = {
    "--model": "2",
    "--epochs": "150",
    "--batch-size": "40",
    "--learning-rate": "0.02",
    "--segments-per-track": "30",
    "--segments": "random",
    "--rate": "auto",
    "--bands": "40",
    "--frames": "80",
    "--vote": "mean",
    "--seed": "0",
    "--name": "[^)]+",
    "--threads": str(default_threads()),
}
# Runs the command line and then says what it has loaded and set.
PROBE = """
import json, os, sys
from mirex_submission.cli.main import main
try:
    status = main(sys.argv[2:])
except SystemExit as end:
    status = end.code
with open(sys.argv[1], "w") as f:
    json.dump({"status": status, "modules": sorted(sys.modules), "threads": os.environ.get("OMP_NUM_THREADS")}, f)
"""


@pytest.fixture
def call(tmp_path):
    """Run a command in a process of its own, in an empty folder."""

    def run(*args):
        (tmp_path / "here").mkdir(exist_ok=True)
        command = [sys.executable, "-c", PROBE, str(tmp_path / "probe.json"), *map(str, args)]
        environment = {**os.environ, "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
        environment.pop("OMP_NUM_THREADS", None)
        done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = {"stdout": done.stdout, "stderr": done.stderr}
        return SimpleNamespace(**said, **json.loads((tmp_path / "probe.json").read_text()))

    return run


@pytest.fixture
def lists(tmp_path):
    """Good and bad lists, by name."""
    contents = {
        "train": "/none/one.wav\trock\n/none/two.wav\tjazz\n",
        "test": "/none/three.wav\n",
        "bad_train": "no tab\n/none/one.wav\t\n/none/two.wav\trock\n/none/four.wav\tjazz\n",
        "bad_test": "/none/three.wav\trock\n\0\n",
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content)
    return {name: tmp_path / f"{name}.txt" for name in contents}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_status_0_on_stdout_and_loads_nothing_heavy(call, command):
    done = call(command, "--help")
    assert (done.status, done.stderr) == (0, "")
    assert f"mirex-submission {command}" in done.stdout
    assert HEAVY & set(done.modules) == set()


@functools.cache
def options_of(command):
    """{option: what the help says of it} for the options that take a value."""
    run = [sys.executable, "-m", "mirex_submission", command, "--help"]
    shown = subprocess.run(run, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True).stdout
    options = {}
    for block in re.split(r"\n  (?=-)", shown)[1:]:
        names_and_values, _, said = block.partition("  ")
        for name, _ in re.findall(r"(--?[\w-]+) ([\w{])", names_and_values):
            options[name] = said
    return options


@pytest.mark.parametrize("command", ["train", "train-and-classify"])
@pytest.mark.parametrize("option", PAPER)
def test_help_of_training_shows_each_option_with_the_papers_default(command, option):
    assert re.search(rf"\(default: {PAPER[option]}\)", options_of(command)[option])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_the_defaults_of_all_that_have_one(command):
    options = options_of(command)
    assert "--threads" in options
    without = {option for option, said in options.items() if "(default: " not in said}
    no_default = {"-numThreads", "--name", "--probabilities", "--scheduler", "--plot", "--scratch", "--export"}
    no_default |= {
        "--time-limit",
        "--tensorboard",
        "--groups",
        "--truth",
        "--system",
        "--submission",
        "--train-options",
        "--classify-options",
    }
    no_default |= {"--format", "--root", "--from-folders", "--from-mirdata", "--group", "--out", "--check"}
    assert without - no_default == set()


def test_the_overview_names_every_command_and_the_version_is_there(call):
    done = call("--help")
    assert (done.status, done.stderr) == (0, "")
    assert all(command in done.stdout for command in COMMANDS) and "--version" in done.stdout


def test_version_names_python_and_all_that_is_needed_and_loads_none_of_it(call):
    done = call("--version")
    assert (done.status, done.stderr) == (0, "") and HEAVY & set(done.modules) == set()
    first, *others = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert first == ["mirex-submission", mirex_submission.__version__]
    told = dict(others)
    assert told["Python"] == platform.python_version() and told["libsndfile"] == soundfile.__libsndfile_version__
    assert told["numpy"] == np.__version__
    assert {"tensorflow", "keras", "scipy", "soundfile", "joblib", "scikit-learn"} <= told.keys()
    assert all(re.match(r"\d", version) for version in told.values())


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-command"],
        ["train"],
        ["train", "scratch"],
        ["train", "scratch", "features", "train", "more"],
        ["extract", "scratch"],
        ["classify", "scratch", "test"],
        ["train-and-classify", "scratch", "train", "test"],
        ["train", "--no-such-option", "scratch", "train"],
        ["train", "--epoch", "3", "scratch", "train"],
        ["train", "scratch", "train", "--epochs"],
        ["train", "scratch", "train", "--epochs", "0"],
        ["train", "scratch", "train", "--epochs", "1.5"],
        ["train", "scratch", "train", "--learning-rate", "nan"],
        ["train", "scratch", "train", "--learning-rate", "inf"],
        ["train", "scratch", "train", "--model", "4"],
        ["train", "scratch", "train", "--rate", "48000"],
        ["train", "scratch", "train", "--max-bad", "101"],
        ["train", "scratch", "train", "--name", "../elsewhere"],
        ["extract", "--shard", "a/b", "scratch", "list"],
        ["extract", "--shard", "-1/3", "scratch", "list"],
        ["extract", "--jobs", "two", "scratch", "list"],
        ["extract", "--backend", "threads", "scratch", "list"],
        ["extract", "--plot", "", "scratch", "list"],
        ["features"],
        ["features", "one.wav", "two.wav"],
        ["features", "--rate", "48000", "one.wav"],
        ["train", "-numThreads", "0", "scratch", "train"],
        ["train", "-numThreads", "scratch", "train"],
    ],
    ids=" ".join,
)
def test_a_usage_error_is_status_2_and_said_on_stderr_before_anything_is_made(call, tmp_path, args):
    done = call(*args)
    assert (done.status, done.stdout) == (2, "")
    assert "usage: mirex-submission" in done.stderr
    assert HEAVY & set(done.modules) == set()
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize(
    "options",
    [["--seed", "-1"], ["--seed", "4294967296"], ["--bands", "5"], ["--model", "1", "--frames", "11"]],
    ids=" ".join,
)
def test_values_that_do_not_fit_together_are_status_2(call, lists, options):
    done = call("train", *options, "scratch", lists["train"])
    assert (done.status, done.stdout) == (2, "")
    assert re.search(r"ERROR: .*too few|error: argument --seed: '.*' is not from 0 to", done.stderr)
    assert "tensorflow" not in done.modules


@pytest.mark.parametrize(
    "args",
    [
        ["-numThreads", "3", "scratch", "train"],
        ["scratch", "-numThreads", "3", "train"],
        ["scratch", "train", "-numThreads", "3"],
        ["--threads", "3", "scratch", "train"],
        ["-numThreads", "3", "scratch", "features", "train"],
        ["scratch", "features", "-numThreads", "3", "train"],
        ["-numThreads", "3", "--model", "1", "scratch", "--epochs", "2", "features", "train"],
    ],
    ids=" ".join,
)
def test_num_threads_is_taken_before_between_and_after_the_positionals(call, args):
    done = call("train", *args)
    assert (done.status, done.threads) == (3, "3")  # the lists are not there
    assert re.search(r"train: cannot be read: No such file", done.stderr)


def test_without_num_threads_it_is_the_default(call):
    assert call("train", "scratch", "train").threads == str(default_threads())


def test_train_takes_two_positionals_or_three_with_the_feature_list_first(call, lists):
    assert "bad_train.txt:1" in call("train", "scratch", lists["bad_train"]).stderr
    three = call("train", "scratch", lists["bad_test"], lists["train"])
    assert three.status == 3
    assert "bad_test.txt:1" in three.stderr
    assert "bad_train.txt:1" in call("train", "scratch", lists["test"], lists["bad_train"]).stderr


@pytest.mark.parametrize(
    ("command", "names", "faults"),
    [
        ("extract", ["bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
        ("train", ["bad_train"], ["bad_train.txt:1: no tab", "bad_train.txt:2: an empty label"]),
        ("train-and-classify", ["train", "bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
        ("classify", ["bad_test"], ["bad_test.txt:1: a tab", "bad_test.txt:2: a NUL"]),
    ],
)
@pytest.mark.parametrize("quiet", [[], ["-q", "-q", "-q"]], ids=["", "quiet"])
def test_a_wrong_list_is_status_3_with_every_fault_on_stderr(call, lists, command, names, faults, quiet):
    output = ["output.txt"] if "classify" in command else []
    done = call(command, *quiet, "scratch", *(lists[name] for name in names), *output)
    assert (done.status, done.stdout) == (3, "")
    for fault in faults:
        assert re.search(rf"ERROR: .*{fault}.*: \S+", done.stderr)
    assert len(re.findall("ERROR: ", done.stderr)) == len(faults)
    assert "tensorflow" not in done.modules


@pytest.mark.parametrize("options", [[], ["--name", "other"]], ids=" ".join)
def test_a_missing_model_is_status_5_before_tensorflow_is_loaded_and_no_output_is_made(call, lists, tmp_path, options):
    done = call("classify", *options, "scratch", lists["test"], "out/output.txt")
    assert (done.status, done.stdout) == (5, "")
    assert re.search(r"ERROR: .*scratch/model.*: no trained model here: train again with bin/train.sh", done.stderr)
    assert {"tensorflow", "keras"} & set(done.modules) == set()
    assert not (tmp_path / "here" / "out").exists()


def test_a_scratch_folder_that_cannot_be_made_is_status_7(call, lists):
    done = call("train", lists["test"] / "scratch", lists["train"])
    assert (done.status, done.stdout) == (7, "")
    assert "cannot be written" in done.stderr


def test_tracks_that_cannot_be_used_are_status_4_said_on_stderr_before_tensorflow_is_loaded(call, lists):
    for args in (["extract", "scratch", lists["test"]], ["train", "scratch", lists["train"]]):
        done = call(*args)
        assert (done.status, done.stdout) == (4, "")
        assert "cannot be read: No such file" in done.stderr
        assert "tensorflow" not in done.modules


# Extraction.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shard", "0/3"], r"'0/3': give I/N with I from 1 to N"),
        (["--shard", "4/3"], r"'4/3': give I/N with I from 1 to N"),
        (["--shard", "3"], r"'3': give I/N with I from 1 to N"),
        (["--jobs", "0"], r"--jobs: 0 processes can do nothing"),
    ],
    ids=" ".join,
)
def test_options_of_extraction_that_make_no_sense_are_status_2_and_said_so(call, tmp_path, options, words):
    done = call("extract", *options, "scratch", "list")
    assert (done.status, done.stdout) == (2, "")
    assert re.search(words, done.stderr)
    assert os.listdir(tmp_path / "here") == []


def test_a_scheduler_without_a_cluster_backend_is_status_2_before_the_list_is_read(call, tmp_path):
    done = call("extract", "--scheduler", "tcp://127.0.0.1:8786", "scratch", "list")
    assert (done.status, done.stdout) == (2, "")
    assert "--scheduler: give --backend dask or ray too" in done.stderr
    assert os.listdir(tmp_path / "here") == []


def write_track(path, *, seconds=1.0, rate_hz=22050):
    """A file of noise, other noise for every path."""
    path.parent.mkdir(exist_ok=True)
    samples = np.random.default_rng(list(os.fsencode(path))).uniform(-0.5, 0.5, int(seconds * rate_hz))
    soundfile.write(path, samples, rate_hz)
    return path


def write_list(path, tracks):
    path.write_text("".join(f"{track}\n" for track in tracks))
    return path


def test_plots_of_equal_file_names_in_two_folders_are_two_pictures(call, tmp_path):
    tracks = [write_track(tmp_path / name / "01.wav") for name in "ab"]
    silent = tmp_path / "silent.wav"
    silent.write_bytes(b"")
    listed = write_list(tmp_path / "list.txt", [*tracks, silent])
    done = call("extract", "--plot", "plots", "scratch", listed)
    assert (done.status, done.stdout) == (0, "")
    plots = sorted((tmp_path / "here" / "plots").iterdir())
    assert len(plots) == 2
    assert all(re.fullmatch(r"01-\w+\.png", plot.name) for plot in plots)
    pictures = [plot.read_bytes() for plot in plots]
    assert all(picture.startswith(b"\x89PNG\r\n") for picture in pictures) and pictures[0] != pictures[1]
    assert f"2 plots are in {tmp_path / 'here' / 'plots'}" in done.stderr
    assert "matplotlib.pyplot" not in done.modules


def test_plots_of_the_longest_file_names_have_names_too_and_a_folder_that_is_a_file_is_refused_first(call, tmp_path):
    listed = write_list(tmp_path / "list.txt", [write_track(tmp_path / ("ä" * 120 + ".wav"))])
    assert call("extract", "--plot", "plots", "scratch", listed).status == 0
    (tmp_path / "file").touch()
    done = call("extract", "--plot", tmp_path / "file", "other", listed)
    assert done.status == 7 and f"{tmp_path / 'file'}: cannot be written" in done.stderr
    assert not list((tmp_path / "here" / "other").rglob("*.logmel"))


@pytest.mark.parametrize(("ignored", "status"), [(True, 0), (False, 143)])
def test_a_hangup_ends_a_run_unless_it_was_started_to_ignore_it(tmp_path, ignored, status):
    """As `nohup` starts it. The hangup comes when the track is opened."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, soundfile\n"
        "opened = soundfile.SoundFile.__init__\n"
        "def hang_up(self, file, *args, **kwargs):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    opened(self, file, *args, **kwargs)\n"
        "soundfile.SoundFile.__init__ = hang_up\n"
    )
    listed = write_list(tmp_path / "list.txt", [write_track(tmp_path / "a.wav")])
    command = [sys.executable, "-m", "mirex_submission", "extract", str(tmp_path / "s"), str(listed)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )
    assert done.returncode == status


def test_extraction_without_plots_loads_no_matplotlib(call, tmp_path):
    listed = write_list(tmp_path / "list.txt", [write_track(tmp_path / "a" / "01.wav")])
    done = call("extract", "scratch", listed)
    assert done.status == 0
    assert {"matplotlib", "dask", "distributed", "ray", "tensorflow"} & set(done.modules) == set()


# Features of one track.


@pytest.fixture
def track(tmp_path):
    """A track of noise at 22050 Hz, in a scratch folder that has its features at that rate."""
    path = str(write_track(tmp_path / "a" / "01.wav"))
    store = FeatureStore(tmp_path / "scratch", FeatureSpec(22050))
    extract([path], store, Workers(1))
    return SimpleNamespace(path=path, store=store, file=store.file_of(path), frames=store.read(path)[1])


def test_features_of_a_track_say_where_they_come_from_and_are_the_same_from_everywhere(call, track, tmp_path):
    scratch = tmp_path / "scratch"
    before = sorted(scratch.rglob("*"))
    asked = {
        "computed now": call("features", track.path),
        f"stored in {track.file}": call("features", track.path, "--scratch", scratch),
        f"stored in {os.path.relpath(track.file, tmp_path / 'here')}": call(
            "features", os.path.relpath(track.file, tmp_path / "here")
        ),
    }
    for source, done in asked.items():
        assert done.status == 0, done.stderr
        assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", source]
        assert {"tensorflow", "keras", "matplotlib"} & set(done.modules) == set()
    texts = [done.stdout.splitlines()[:-1] for done in asked.values()]
    assert texts[0] == texts[1] == texts[2]
    assert f"{len(track.frames)} frames x 40 bands" in "\n".join(texts[0])
    assert os.listdir(tmp_path / "here") == [] and sorted(scratch.rglob("*")) == before  # it only looks


def test_features_of_a_track_that_is_not_in_the_scratch_folder_are_computed(call, track, tmp_path):
    other = write_track(tmp_path / "b" / "01.wav")
    done = call("features", "--scratch", tmp_path / "scratch", other)
    assert done.status == 0
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", "computed now"]


@pytest.mark.parametrize("name", ["out.npy", "made/as needed/out.csv"])
def test_features_are_exported_bit_for_bit(call, track, tmp_path, name):
    done = call("features", track.path, "--export", name)
    assert (done.status, done.stdout) == (0, "")
    assert f"{name}: {len(track.frames)} frames x 40 bands, computed now" in done.stderr
    file = tmp_path / "here" / name
    loaded = np.load(file) if name.endswith("npy") else np.loadtxt(file, delimiter=",", skiprows=1)[:, 1:]
    np.testing.assert_array_equal(loaded.astype(np.float32), track.frames)


def test_a_kind_of_export_that_is_none_is_status_2_and_writes_nothing(call, track, tmp_path):
    done = call("features", track.path, "--export", "out.txt")
    assert (done.status, done.stdout) == (2, "")
    assert "out.txt: give a name that ends in .npy or .csv" in done.stderr
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize("what", ["flipped", "truncated", "foreign", "missing"])
def test_a_stored_file_that_is_damaged_is_status_4(call, track, tmp_path, what):
    data, file = track.file.read_bytes(), tmp_path / "damaged.logmel"
    if what != "missing":
        changed = {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "truncated": data[: len(data) // 2]}
        file.write_bytes(changed.get(what, b"no features and no audio"))
    done = call("features", file)
    assert (done.status, done.stdout) == (4, "")
    assert f"ERROR: {file}: missing, damaged, or no stored features" in done.stderr


@pytest.mark.parametrize("options", [[], ["--rate", "22050"]], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "reason"), [("text.wav", "cannot be decoded"), ("missing.wav", "cannot be read: No such file")]
)
def test_audio_that_cannot_be_heard_is_status_4_with_path_and_reason(call, tmp_path, options, name, reason):
    (tmp_path / "text.wav").write_text("no audio")
    done = call("features", *options, tmp_path / name)
    assert (done.status, done.stdout) == (4, "")
    assert f"ERROR: {tmp_path / name}: {reason}" in done.stderr


def test_stored_features_that_are_damaged_are_computed_instead(call, track, tmp_path):
    data = track.file.read_bytes()
    track.file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = call("features", "--scratch", tmp_path / "scratch", "--export", "out.npy", track.path)
    assert done.status == 0 and "computed now" in done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "here" / "out.npy"), track.frames)


def test_features_stored_at_two_rates_are_asked_for_by_rate(call, track, tmp_path):
    other = FeatureStore(tmp_path / "scratch", FeatureSpec(11025))
    extract([track.path], other, Workers(1))
    arguments = ("features", "--scratch", tmp_path / "scratch", track.path)
    done = call(*arguments)
    assert (done.status, done.stdout) == (2, "")
    assert f"{track.path}: stored at 11025, 22050 Hz: give --rate" in done.stderr
    done = call(*arguments, "--rate", "11025")
    assert done.status == 0
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", f"stored in {other.file_of(track.path)}"]


@pytest.mark.parametrize(
    ("name", "command"), [("extractFeatures", "extract"), ("trainAndClassify", "train-and-classify")]
)
def test_mirexs_names_of_the_calls_are_commands(run_script, name, command):
    done = run_script("mirex-submission.sh", name, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: mirex-submission {command} ")


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
@pytest.mark.parametrize(
    ("device", "status", "said"), [("gpu", 6, "fault(s): GPU"), ("tpu", 2, "'tpu': give auto, cpu")]
)
def test_the_environment_says_which_device_is_asked_for_unless_a_call_does(run_script, device, status, said):
    done = run_script("mirex-submission.sh", "doctor", env={"MIREX_DEVICE": device})
    assert done.returncode == status and said in done.stderr, done.stderr
    assert run_script("mirex-submission.sh", "doctor", "--device", "cpu", env={"MIREX_DEVICE": device}).returncode == 0


def test_a_path_that_standard_output_cannot_spell_is_printed_with_escapes(run_script, tmp_path):
    done = run_script(
        "mirex-submission.sh", "check", tmp_path / "Müsik", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0 and r"M\xfcsik" in done.stdout


def test_a_call_from_a_folder_that_is_gone_is_told_so(tmp_path):
    gone, paths = tmp_path / "gone", tmp_path / "paths.txt"
    gone.mkdir()
    paths.write_text("a.wav\n")
    for arguments in (["scratch", str(paths)], [str(tmp_path / "scratch"), str(paths)]):
        code = f"import os, sys; os.chdir({str(gone)!r}); os.path.exists('.') and os.rmdir('../gone'); "
        code += f"from mirex_submission.cli.main import main; sys.exit(main(['extract', '--no-check', *{arguments!r}]))"
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
        gone.mkdir()
        assert done.returncode == 2 and "the folder that this was called from is gone" in done.stderr


@pytest.mark.parametrize("n", ["0", "-1", "1.5", "many", "100001", "9" * 30])
def test_a_number_of_threads_that_is_none_is_status_2(call, tmp_path, n):
    assert call("extract", "-numThreads", n, tmp_path / "scratch", tmp_path / "list").status == 2


def test_the_list_of_groups_is_not_overwritten_by_an_output(call, lists, tmp_path):
    groups = tmp_path / "groups"
    groups.write_text("/none/one.wav\tsomebody\n")
    options = ("--patience", 1, "--groups", groups)
    done = call("train-and-classify", *options, tmp_path / "s", lists["train"], lists["test"], groups)
    assert done.status == 2 and "which it would overwrite" in done.stderr
    assert groups.read_text() == "/none/one.wav\tsomebody\n"
