"""The command line: help, exit statuses, loaded packages, standard output and standard error."""

import functools
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
from command_line import call, call_all

import mirex_submission
from mirex_submission.features.extraction import extract
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.system.environment import default_threads
from mirex_submission.system.workers import Workers

COMMANDS = (
    "extract", "train", "classify", "train-and-classify", "features", "folds", "validate", "crossval", "evaluate",
    "report", "explain", "check", "completion", "doctor", "export", "try", "audit", "pack", "predict",
)  # fmt: skip
HEAVY = {
    "tensorflow", "keras", "numpy", "scipy", "joblib", "soundfile", "soxr", "matplotlib", "dask", "distributed",
    "jinja2", "ray", "sklearn", "mirdata", "shtab", "onnx", "onnxruntime", "tf2onnx", "pandas", "librosa",
}  # fmt: skip
# Options that have no default.
WITHOUT_DEFAULT = {
    "--name", "--probabilities", "--scheduler", "--plot", "--scratch", "--export", "--time-limit", "--tensorboard",
    "--groups", "--truth", "--system", "--submission", "--train-options", "--classify-options", "--format", "--root",
    "--from-folders", "--from-mirdata", "--group", "--out", "--check", "--shard", "--stress",
    "--stress-limit", "--strata", "--explain", "--confidence", "--author",
}  # fmt: skip
# Arguments that are refused before anything is loaded or written.
REFUSED = [
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
    ["train", "scratch", "train", "--model", "4"],
    ["train", "scratch", "train", "--name", "../elsewhere"],
    ["train", "--seed", "4294967296", "scratch", "train"],
    ["train", "-numThreads", "0", "scratch", "train"],
    ["train", "-numThreads", "scratch", "train"],
    ["extract", "--shard", "4/3", "scratch", "list"],
    ["extract", "--backend", "threads", "scratch", "list"],
    ["extract", "--jobs", "2", "scratch", "list"],
    ["extract", "--plot", "", "scratch", "list"],
    ["extract", "", "list"],
    ["features"],
    ["features", "one.wav", "two.wav"],
    ["features", "--rate", "48000", "one.wav"],
]
# Lists by name.
LISTS = {
    "train": "/none/one.wav\trock\n/none/two.wav\tjazz\n",
    "test": "/none/three.wav\n",
    "bad_train": "no tab\n/none/one.wav\t\n/none/two.wav\trock\n/none/four.wav\tjazz\n",
    "bad_test": "/none/three.wav\trock\n\0\n",
    "groups": "/none/one.wav\tsomebody\n",
}
BAD_TEST = ["../bad_test.txt:1: list.label", "../bad_test.txt:2: list.nul"]
BAD_TRAIN = ["../bad_train.txt:1: list.no-tab", "../bad_train.txt:2: list.no-label"]
# Calls over these lists that fail before TensorFlow is loaded, with their status and `where: code` of each error.
FAILING = [
    ("train --bands 5 s train", 2, ["usage.segment-size"]),
    ("train --model 1 --frames 11 s train", 2, ["usage.segment-size"]),
    ("train --groups groups s train", 2, ["usage.groups"]),
    ("extract --scheduler tcp://127.0.0.1:8786 s test", 2, ["usage.scheduler"]),
    ("train-and-classify s train test test", 2, ["usage.output"]),
    ("train-and-classify --patience 1 --groups groups s train test groups", 2, ["usage.output"]),
    ("classify --probabilities o s test o", 2, ["usage.output"]),
    ("extract s bad_test", 3, BAD_TEST),
    ("extract -q -q -q s bad_test", 3, BAD_TEST),
    ("train s bad_train", 3, BAD_TRAIN),
    ("train s test bad_train", 3, BAD_TRAIN),
    ("train s bad_test train", 3, BAD_TEST),
    ("train s bad_test bad_train", 3, [*BAD_TRAIN, *BAD_TEST]),
    ("train-and-classify s train bad_test o", 3, BAD_TEST),
    ("classify s bad_test o", 3, BAD_TEST),
    ("train s missing", 3, ["missing: list.unreadable"]),
    ("extract --no-check s test", 4, ["audio.too-many"]),
    ("extract s test", 4, ["audio.too-many"]),
    ("train s train", 4, ["audio.empty-class"]),
    ("classify s test out/o", 5, None),
    ("classify --name other s test out/o", 5, None),
    ("train ../test.txt/s train", 7, ["disk.in-the-way"]),
]


def codes_of(stderr):
    """Return `file:line: code` of each error that names a line of a list, and the code alone of the others."""
    errors = re.findall(r"ERROR: (?:(\S+:\d+|missing): )?.*\[([a-z]+\.[a-z0-9-]+)\]$", stderr, re.MULTILINE)
    return [": ".join(filter(None, error)) for error in errors]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the lists, and in it the empty folder `here` to call from."""
    folder = tmp_path_factory.mktemp("place")
    for name, content in LISTS.items():
        (folder / f"{name}.txt").write_text(content)
    (folder / "here").mkdir()
    return folder


def arguments(text):
    """Return the arguments of a call, with the path of each list in place of its name."""
    command, *words = text.split()
    return [command, *(f"../{word}.txt" if word in LISTS else word for word in words)]


@pytest.fixture(scope="module")
def done_before_loading(place):
    """Results of the calls that load nothing, one after the other in one new process."""
    calls = [["--help"], ["--version"], [], *([command, "--help"] for command in COMMANDS), *REFUSED]
    return {" ".join(args): done for args, done in zip(calls, call_all(calls, place / "here"), strict=True)}


@pytest.fixture(scope="module")
def done_failing(place):
    calls = [text for text, _, _ in FAILING]
    (place / "there").mkdir()
    return dict(zip(calls, call_all(map(arguments, calls), place / "there"), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_goes_to_stdout_with_status_0_and_loads_nothing_heavy(done_before_loading, command):
    done = done_before_loading[f"{command} --help"]
    assert (done.status, done.stderr) == (0, "")
    assert f"mirex-submission {command}" in done.stdout
    assert HEAVY & done.modules == set()


@functools.cache
def options_of(command):
    """Return {option: its help} for the options that take a value."""
    options = {}
    for block in re.split(r"\n  (?=-)", call(command, "--help").stdout)[1:]:
        names_and_values, _, text = block.partition("  ")
        for name, _ in re.findall(r"(--?[\w-]+) ([\w{])", names_and_values):
            options[name] = text
    return options


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_all_defaults(command):
    options = options_of(command)
    assert f"(default: {default_threads()})" in options["--threads"]
    without = {option for option, text in options.items() if "(default: " not in text} - {"-numThreads"}
    if command == "check":
        without -= {"--features", "--train", "--test"}
    assert without <= WITHOUT_DEFAULT


def test_the_overview_names_every_command_and_the_option_version(done_before_loading):
    done = done_before_loading["--help"]
    assert (done.status, done.stderr) == (0, "")
    assert all(command in done.stdout for command in COMMANDS) and "--version" in done.stdout
    nothing = done_before_loading[""]
    assert (nothing.status, nothing.stdout, nothing.stderr) == (2, "", done.stdout)


def test_version_names_python_and_all_requirements_and_loads_none_of_them(done_before_loading):
    done = done_before_loading["--version"]
    assert (done.status, done.stderr) == (0, "") and HEAVY & done.modules == set()
    first, *others = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert first == ["mirex-submission", mirex_submission.__version__]
    versions = dict(others)
    assert versions["Python"] == platform.python_version()
    assert versions["libsndfile"] == soundfile.__libsndfile_version__ and versions["numpy"] == np.__version__
    assert {"tensorflow", "keras", "scipy", "soundfile", "joblib", "scikit-learn"} <= versions.keys()
    assert all(re.match(r"\d", version) for version in versions.values())


@pytest.mark.parametrize("args", REFUSED, ids=" ".join)
def test_a_usage_error_is_status_2_before_anything_is_loaded_or_written(done_before_loading, args):
    done = done_before_loading[" ".join(args)]
    assert (done.status, done.stdout, done.files) == (2, "", ())
    assert "usage: mirex-submission" in done.stderr
    assert HEAVY & done.modules == set()


@pytest.mark.parametrize(("text", "status", "codes"), FAILING, ids=[text for text, _, _ in FAILING])
def test_wrong_lists_and_options_give_all_codes_before_tensorflow_is_loaded(done_failing, text, status, codes):
    done = done_failing[text]
    assert (done.status, done.stdout) == (status, "")
    assert codes is None or codes_of(done.stderr) == codes
    assert {"tensorflow", "keras"} & done.modules == set()
    assert not {"out", "o"} & set(done.files)


@pytest.mark.parametrize(
    "args",
    [
        "-numThreads 3 scratch train",
        "scratch -numThreads 3 train",
        "scratch train -numThreads 3",
        "--threads 3 scratch train",
        "-numThreads 3 scratch features train",
        "scratch features -numThreads 3 train",
        "-numThreads 3 --model 1 scratch --epochs 2 features train",
    ],
)
def test_num_threads_may_stand_before_between_and_after_the_positionals(tmp_path, args):
    done = call("train", *args.split(), cwd=tmp_path)
    assert (done.status, done.threads) == (3, "3")  # the lists are missing
    assert "[list.unreadable]" in done.stderr


def test_without_num_threads_the_default_number_is_used(tmp_path):
    assert call("train", "scratch", "train", cwd=tmp_path).threads == str(default_threads())


# Extraction.


def write_track(path, *, seconds=1.0, rate_hz=22050):
    """Write a file of noise that depends on the path of the file."""
    path.parent.mkdir(exist_ok=True)
    samples = np.random.default_rng(list(os.fsencode(path))).uniform(-0.5, 0.5, int(seconds * rate_hz))
    soundfile.write(path, samples, rate_hz)
    return path


def write_list(path, tracks):
    path.write_text("".join(f"{track}\n" for track in tracks))
    return path


def test_tracks_of_equal_file_names_and_of_the_longest_name_get_a_plot_each(tmp_path):
    long = "ä" * 120
    tracks = [write_track(tmp_path / name) for name in ("a/01.wav", "b/01.wav", f"{long}.wav")]
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    listed = write_list(tmp_path / "list.txt", [*tracks, empty])
    (done,) = call_all([["extract", "--plot", "plots", "scratch", listed]], tmp_path)
    assert (done.status, done.stdout) == (0, ""), done.stderr
    plots = sorted((tmp_path / "plots").iterdir())
    assert len(plots) == 3 and plots[2].name.startswith(long[:50])
    assert all(re.fullmatch(r"01-\w+\.png", plot.name) for plot in plots[:2])
    pictures = {plot.read_bytes() for plot in plots}
    assert len(pictures) == 3 and all(picture.startswith(b"\x89PNG\r\n") for picture in pictures)
    assert "matplotlib.pyplot" not in done.modules


def test_a_file_in_place_of_the_folder_of_plots_is_refused_before_extraction(tmp_path):
    listed = write_list(tmp_path / "list.txt", [write_track(tmp_path / "a.wav")])
    (tmp_path / "file").touch()
    done = call("extract", "--plot", tmp_path / "file", "scratch", listed, cwd=tmp_path)
    assert done.status == 7 and f"{tmp_path / 'file'}: " in done.stderr and "[disk.in-the-way]" in done.stderr
    assert not list((tmp_path / "scratch").rglob("*.logmel"))


@pytest.mark.parametrize(("ignored", "status"), [(True, 0), (False, 143)])
def test_a_hangup_ends_a_run_unless_it_was_started_to_ignore_it(tmp_path, ignored, status):
    """`nohup` starts a run that ignores SIGHUP. The signal comes when the track is opened."""
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


def test_extraction_without_plots_loads_no_matplotlib(tmp_path):
    listed = write_list(tmp_path / "list.txt", [write_track(tmp_path / "a" / "01.wav")])
    (done,) = call_all([["extract", "scratch", listed]], tmp_path)
    assert done.status == 0
    assert {"matplotlib", "dask", "distributed", "ray", "tensorflow", "pandas"} & done.modules == set()


# Features of one track.


@pytest.fixture
def track(tmp_path):
    """A track of noise at 22050 Hz, a scratch folder with its features at that rate, and an empty folder."""
    path = str(write_track(tmp_path / "a" / "01.wav"))
    store = FeatureStore(tmp_path / "scratch", FeatureSpec(22050))
    extract([path], [store], Workers(1))
    here = tmp_path / "here"
    here.mkdir()
    return SimpleNamespace(path=path, store=store, file=store.file_of(path), frames=store.read(path)[1], here=here)


def test_features_name_their_source_and_computed_and_stored_ones_are_equal(track, tmp_path):
    scratch = tmp_path / "scratch"
    before = sorted(scratch.rglob("*"))
    relative = os.path.relpath(track.file, track.here)
    calls = [["features", track.path], ["features", track.path, "--scratch", scratch], ["features", relative]]
    results = call_all(calls, track.here)
    for source, done in zip(("computed now", f"stored in {track.file}", f"stored in {relative}"), results, strict=True):
        assert done.status == 0, done.stderr
        assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", source]
        assert {"tensorflow", "keras", "matplotlib"} & done.modules == set() and done.files == ()
    texts = [done.stdout.splitlines()[:-1] for done in results]
    assert texts[0] == texts[1] == texts[2]
    assert f"{len(track.frames)} frames x 40 bands" in "\n".join(texts[0])
    assert sorted(scratch.rglob("*")) == before  # nothing is written


def test_features_of_a_track_that_is_not_in_the_scratch_folder_are_computed(track, tmp_path):
    other = write_track(tmp_path / "b" / "01.wav")
    done = call("features", "--scratch", tmp_path / "scratch", other)
    assert done.status == 0
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", "computed now"]


@pytest.mark.parametrize("name", ["out.npy", "made/as needed/out.csv"])
def test_features_are_exported_bit_for_bit(track, name):
    done = call("features", track.path, "--export", name, cwd=track.here)
    assert (done.status, done.stdout) == (0, "")
    file = track.here / name
    loaded = np.load(file) if name.endswith("npy") else np.loadtxt(file, delimiter=",", skiprows=1)[:, 1:]
    np.testing.assert_array_equal(loaded.astype(np.float32), track.frames)


def test_an_unknown_format_of_export_is_status_2_and_writes_nothing(track):
    done = call("features", track.path, "--export", "out.txt", cwd=track.here)
    assert (done.status, done.stdout) == (2, "") and "out.txt: " in done.stderr
    assert os.listdir(track.here) == []


@pytest.mark.parametrize("damage", ["flipped", "truncated", "foreign", "missing"])
def test_a_stored_file_that_is_damaged_is_status_4(track, tmp_path, damage):
    data, file = track.file.read_bytes(), tmp_path / "damaged.logmel"
    if damage != "missing":
        changed = {"flipped": data[:-1] + bytes([data[-1] ^ 1]), "truncated": data[: len(data) // 2]}
        file.write_bytes(changed.get(damage, b"no features and no audio"))
    done = call("features", file)
    assert (done.status, done.stdout) == (4, "") and f"ERROR: {file}: " in done.stderr


@pytest.mark.parametrize("options", [[], ["--rate", "22050"]], ids=" ".join)
@pytest.mark.parametrize("name", ["text.wav", "missing.wav"])
def test_unreadable_audio_is_status_4_with_its_path(tmp_path, options, name):
    (tmp_path / "text.wav").write_text("no audio")
    done = call("features", *options, tmp_path / name)
    assert (done.status, done.stdout) == (4, "") and f"ERROR: {tmp_path / name}: " in done.stderr


def test_stored_features_that_are_damaged_are_computed_instead(track, tmp_path):
    data = track.file.read_bytes()
    track.file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = call("features", "--scratch", tmp_path / "scratch", "--export", "out.npy", track.path, cwd=track.here)
    assert done.status == 0 and "computed now" in done.stderr
    np.testing.assert_array_equal(np.load(track.here / "out.npy"), track.frames)


def test_features_stored_at_two_rates_require_the_option_rate(track, tmp_path):
    other = FeatureStore(tmp_path / "scratch", FeatureSpec(11025))
    extract([track.path], [other], Workers(1))
    command = ("features", "--scratch", tmp_path / "scratch", track.path)
    done = call(*command)
    assert (done.status, done.stdout) == (2, "")
    assert f"{track.path}: " in done.stderr and "11025, 22050" in done.stderr and "--rate" in done.stderr
    done = call(*command, "--rate", "11025")
    assert done.status == 0
    assert done.stdout.splitlines()[-1].split(maxsplit=1) == ["features", f"stored in {other.file_of(track.path)}"]


@pytest.mark.parametrize(
    ("name", "command"), [("extractFeatures", "extract"), ("trainAndClassify", "train-and-classify")]
)
def test_the_names_of_the_scripts_of_mirex_are_commands_too(name, command):
    done = call(name, "--help")
    assert done.status == 0 and done.stdout.startswith(f"usage: mirex-submission {command} ")


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
@pytest.mark.parametrize(("device", "status", "code"), [("gpu", 6, "check.installation"), ("tpu", 2, "usage.option")])
def test_mirex_device_decides_the_device_unless_the_option_does(device, status, code):
    done = call("doctor", MIREX_DEVICE=device)
    assert done.status == status and f"[{code}]" in done.stderr, done.stderr
    assert call("doctor", "--device", "cpu", MIREX_DEVICE=device).status == 0


def test_a_path_that_standard_output_cannot_encode_is_printed_with_escapes(run_script, tmp_path):
    done = run_script(
        "mirex-submission.sh", "check", tmp_path / "Müsik", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0 and r"M\xfcsik" in done.stdout


def test_a_run_from_a_removed_folder_is_status_2(tmp_path):
    paths = tmp_path / "paths.txt"
    paths.write_text("a.wav\n")
    gone = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; "
    for arguments in (["scratch", str(paths)], [str(tmp_path / "scratch"), str(paths)]):
        code = "import sys; from mirex_submission.cli.main import main; sys.exit(main(sys.argv[1:]))"
        command = ["bash", "-c", f'{gone} exec "$@"', "bash", sys.executable, "-P", "-c", code, "extract", "--no-check"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and "[usage.current-folder]" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ("scratch -- -t.txt", "./-t.txt"),
        ("-- scratch -t.txt", "./-t.txt"),
        ("scratch -- f.txt --help", "./--help"),
        ("--threads 3 -- -scr -q", "./-q"),
        ("-- -scr -- -t.txt", "./-t.txt"),
    ],
)
def test_arguments_after_two_dashes_are_files_even_if_they_begin_with_a_dash(tmp_path, args, named):
    done = call("train", *args.split(), cwd=tmp_path)
    assert done.status == 3 and f"{named}: " in done.stderr and "[list.unreadable]" in done.stderr, done.stderr
