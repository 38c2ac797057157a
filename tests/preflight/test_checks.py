"""Problems that are found before a long run, at its start and by the command `check`."""

import dataclasses
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import call, call_all

from mirex_submission.errors import AudioError, StorageError, UsageError
from mirex_submission.features import audio, store
from mirex_submission.features.extraction import extract
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.preflight import checks
from mirex_submission.preflight.checks import ERROR, NOTE, WARNING, PlannedRun
from mirex_submission.protocol.lists import Track
from mirex_submission.runs import scratch
from mirex_submission.runs.options import FeatureOptions, TrainingOptions
from mirex_submission.runs.train import train
from mirex_submission.system import installation
from mirex_submission.system.installation import Package
from mirex_submission.system.workers import Workers
from mirex_submission.training.recipe import Recipe

SPEC = FeatureSpec()


def write_clip(path, *, seconds=3.0, rate_hz=22050):
    samples = np.random.default_rng(list(os.fsencode(path.name))).uniform(-0.5, 0.5, int(seconds * rate_hz))
    soundfile.write(path, samples, rate_hz)
    return str(path)


def write_huge(path):
    """Write a sparse file whose header promises 49 days of audio at 1000 Hz."""
    soundfile.write(path, np.zeros(1000, np.int16), 1000, subtype="PCM_U8")
    size = 2**32 - 100
    with open(path, "r+b") as f:
        for at, number in ((4, size - 8), (40, size - 44)):
            f.seek(at)
            f.write(number.to_bytes(4, "little"))
        f.truncate(size)
    return str(path)


@pytest.fixture
def clips(tmp_path):
    """Clips of several lengths and rates, in several formats."""
    kinds = ((0.1, 22050, "wav"), (2.9, 22050, "wav"), (5.0, 44100, "flac"), (7.3, 8000, "ogg"), (4.0, 48000, "mp3"))
    return [write_clip(tmp_path / f"clip{k}.{kind}", seconds=s, rate_hz=hz) for k, (s, hz, kind) in enumerate(kinds)]


@pytest.fixture
def run(tmp_path, clips):
    return PlannedRun(tmp_path / "scratch", (SPEC,), clips)


def checked(run, severity=None):
    """Return all problems of a run, or the texts of those of one severity."""
    problems = checks.check(run, Headers(2))
    return problems if severity is None else [problem.text for problem in problems if problem.severity == severity]


def codes_of(texts):
    """Return the codes at the ends of the lines."""
    return re.findall(r"\[([a-z]+\.[a-z-]+)\]$", "\n".join(texts), re.MULTILINE)


# Headers and stored features.


@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
def test_frames_and_disk_space_estimated_from_headers_are_those_of_extraction(tmp_path, clips, rate_hz):
    features = [FeatureStore(tmp_path / "s", FeatureSpec(rate_hz))]
    before = checks.survey(clips, features, Headers(1))
    assert before.n_stored == 0 and len(before.new) == len(clips)
    extract(clips, features, Workers(1))
    after = checks.survey(clips, features, Headers(1))
    assert after.n_stored == len(clips) and not after.new
    for path in clips:  # the MP3 decoder adds some samples
        assert abs(before.frames[path] - after.frames[path]) <= path.endswith("mp3") * 4
    for path, estimate in zip(clips, before.new, strict=True):
        assert estimate - 3 * 4096 <= features[0].file_of(path).stat().st_size <= estimate + 4096


def test_a_clip_of_30_s_takes_a_seventh_of_a_megabyte(tmp_path):
    path = write_clip(tmp_path / "a.wav", seconds=30)
    (estimate,) = checks.survey([path], [FeatureStore(tmp_path, SPEC)], Headers(1)).new
    assert estimate == pytest.approx(0.14e6, rel=0.02)


def test_every_header_is_read_once_and_those_of_stored_tracks_never(run, clips, monkeypatch):
    opened = []
    read_header = audio.read_header
    monkeypatch.setattr(audio, "read_header", lambda path: opened.append(path) or read_header(path))
    for _ in range(2):
        headers = Headers(2)
        specs = scratch.choose_specs(run.scratch, clips, Recipe(), FeatureOptions(), headers)
        checks.check(dataclasses.replace(run, specs=specs), headers)
        assert Counter(opened) == Counter(clips)
        opened.clear()
    extract(clips, [FeatureStore(run.scratch, SPEC)], Workers(1))
    checks.check(run, Headers(2))
    assert opened == []


def test_the_audio_of_a_file_with_only_a_new_time_is_not_read(run, clips, monkeypatch):
    extract(clips, [FeatureStore(run.scratch, SPEC)], Workers(1))
    for path in clips:
        os.chmod(path, 0o600)
    monkeypatch.setattr(store, "content_hash", lambda path: pytest.fail("read"))
    assert f"{len(clips)} are stored, 0 to extract" in " ".join(checked(run, NOTE))
    with pytest.raises(pytest.fail.Exception):  # the run itself reads it
        FeatureStore(run.scratch, SPEC).fresh(clips[0])


def test_a_header_with_an_impossible_length_is_not_trusted(tmp_path):
    path = Path(write_clip(tmp_path / "a.flac"))
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the number of samples, 36 bits
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)
    assert soundfile.info(path).frames == 2**36 - 1
    assert audio.read_header(str(path)).duration_s <= len(data) / 100


def test_nothing_is_written(run, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    checked(run)
    assert sorted(tmp_path.rglob("*")) == before


# Problems.


def test_a_run_without_problems_has_only_notes(run, clips):
    tracks = [Track(path, "ab"[k % 2]) for k, path in enumerate(clips)]
    problems = checked(dataclasses.replace(run, trainings=[tracks], readable=[clips], device="cpu", strict=True))
    assert {problem.severity for problem in problems} == {NOTE}


def test_unreadable_tracks_are_warnings_and_too_many_of_them_are_an_error_that_comes_first(run, clips, tmp_path):
    bad = [str(tmp_path / name) for name in ("missing.wav", "text.wav")]
    Path(bad[1]).write_text("no audio")
    line_of = {bad[0]: "list.txt:7: "}
    few = dataclasses.replace(run, paths=[*clips, *bad], readable=[[*clips, *bad]], line_of=line_of)
    warnings = checked(few, WARNING)
    assert any(text.startswith(f"list.txt:7: {bad[0]}: ") for text in warnings)
    assert any(text.startswith(f"{bad[1]}: ") for text in warnings) and checked(few, ERROR) == []
    half, one_class = [Track(clips[0], "a"), Track(clips[1], "b"), Track(bad[0], "b")], [Track(bad[0], "b")]
    for changes, code in (
        ({"readable": [[clips[0], *bad]]}, "audio.too-many"),
        ({"strict": True}, "audio.too-many"),
        ({"readable": [], "trainings": [half]}, "audio.too-many-to-train"),
        ({"readable": [], "trainings": [[half[0], *one_class]], "max_bad": 1.0}, "audio.empty-class"),
    ):
        problems = checked(dataclasses.replace(few, **changes))
        assert (problems[0].severity, problems[0].kind) == (ERROR, AudioError)
        assert codes_of([problems[0].text]) == [code]
        severities = [problem.severity for problem in problems]
        assert severities == sorted(severities, reverse=True)


def test_a_disk_without_space_is_an_error_and_too_little_memory_a_warning(tmp_path):
    paths = [write_huge(tmp_path / "huge.wav")]
    for k in range(50):
        paths.append(str(tmp_path / f"{k}.wav"))
        os.symlink(paths[0], paths[-1])
    run = PlannedRun(tmp_path / "scratch", (FeatureSpec(n_bands=2048),), paths, n_jobs=len(paths))
    problems = checked(run)
    assert [problem.kind for problem in problems if problem.severity == ERROR] == [StorageError]
    assert codes_of(problem.text for problem in problems) == ["disk.space", "check.processors", "check.memory"]


def test_a_training_needs_space_for_its_frames_segments_and_models(run, clips, tmp_path):
    tracks = [Track(path, "ab"[k % 2]) for k, path in enumerate(clips)]

    def needed_mb(**options):
        """Return the megabytes for the frames, and those for the models and their checkpoints."""
        training = dataclasses.replace(run, trainings=[tracks], recipe=Recipe(**options))
        (text,) = (text for text in checked(training, NOTE) if "needs about" in text)
        return [int(n) for n in re.findall(r"(\d+) MB for the frames|(\d+) MB for models", text) for n in n if n]

    folder = train(
        tmp_path / "s", [(track.path, track.label) for track in tracks], features=FeatureOptions(rate="22050"),
        recipe=Recipe(epochs=1, segments_per_track=1), training=TrainingOptions(no_picture=True),
    )  # fmt: skip
    (model,) = folder.glob("*.npz")
    model_mb = model.stat().st_size / 1e6
    assert needed_mb() == [0, pytest.approx(4 * model_mb, abs=1)]  # the model, two checkpoints, and the next one
    assert needed_mb(patience=3) == [0, pytest.approx(7 * model_mb, abs=1)]  # checkpoints also hold the best weights
    assert needed_mb(segments_per_track=100_000)[0] == 6  # 12 bytes a segment


def test_a_scratch_folder_that_is_not_writable_is_an_error_unless_nothing_is_written(run, clips, tmp_path):
    (tmp_path / "file").touch()
    nowhere = dataclasses.replace(run, scratch=tmp_path / "file" / "scratch")
    assert checked(nowhere)[0].kind is StorageError and checked(nowhere)[0].severity == ERROR
    assert checked(dataclasses.replace(nowhere, paths=[]))[0].severity == ERROR
    unreadable = dataclasses.replace(nowhere, paths=[str(tmp_path / "missing.wav")])
    assert checked(unreadable, ERROR) == [] and "disk.in-the-way" in codes_of(checked(unreadable, WARNING))


def test_more_threads_than_processors_are_a_warning_with_the_right_number(run):
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(mine)])
    try:
        warnings = checked(dataclasses.replace(run, threads=3), WARNING)
    finally:
        os.sched_setaffinity(0, mine)
    (text,) = (text for text in warnings if codes_of([text]) == ["check.processors"])
    assert "give -numThreads 1" in text


def test_a_missing_package_that_a_run_imports_late_is_an_error(run, clips, monkeypatch):
    wrong = [Package("matplotlib", "", ">=3.8", False), Package("jinja2", "2.0", ">=3.1", False)]
    monkeypatch.setattr(installation, "packages", lambda: wrong)
    warnings = checked(run, WARNING)
    assert [text.split()[0] for text in warnings] == ["matplotlib", "jinja2"]
    assert codes_of(warnings) == ["check.package"] * 2
    training = dataclasses.replace(run, trainings=[[Track(clips[0], "a"), Track(clips[1], "b")]])
    error = checked(training)[0]
    assert error.severity == ERROR and error.kind is UsageError and "pip install" in error.text


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_missing_gpu_is_an_error_without_loading_keras(run):
    error = checked(dataclasses.replace(run, device="gpu:0,1"))[0]
    assert error.severity == ERROR and error.kind.exit_status == 6


# The command, and the same check at the start of a run.


@pytest.fixture
def listed(tmp_path, clips):
    """Lists of all clips, of training clips and of test clips."""
    contents = {
        "features": "".join(f"{path}\n" for path in clips),
        "train": "".join(f"{path}\t{'ab'[k % 2]}\n" for k, path in enumerate(clips[:3])),
        "test": "".join(f"{path}\n" for path in clips[3:]),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content)
    return {name: tmp_path / f"{name}.txt" for name in contents}


def options_of(listed):
    return [word for name, path in listed.items() for word in (f"--{name}", path)]


def test_check_of_good_lists_is_ok_and_writes_nothing(run_script, listed, tmp_path):
    done = run_script("mirex-submission.sh", "check", tmp_path / "s", *options_of(listed))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert all(any(f" {path}: " in line for line in lines) for path in listed.values())
    assert not (tmp_path / "s").exists()


def test_check_without_lists_checks_the_machine_and_finds_a_damaged_model(listed, tmp_path):
    folder = tmp_path / "s"
    arguments = ("--epochs", 1, "--segments-per-track", 1, "--no-picture", folder, listed["train"])
    assert call("train", *arguments).status == 0
    done = call("check", folder)
    assert done.status == 0 and f"ok       {folder}/model: model 2, " in done.stdout
    (weights,) = (folder / "model").glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:-1])
    done = call("check", folder)
    assert done.status == 0 and f"warning  {weights}: " in done.stdout and "ERROR" not in done.stdout


def test_check_of_a_model_whose_folder_cannot_be_read_is_a_warning(tmp_path):
    name = "n" * 300  # too long for a file name: root can read any folder that exists
    (tmp_path / "models").mkdir()
    done = call("check", "--name", name, tmp_path)
    assert done.status == 0 and re.search(rf"^warning  .*{name}", done.stdout, re.MULTILINE)


def test_check_prints_all_problems_errors_first_and_has_the_status_of_the_first(listed, clips, tmp_path):
    with open(listed["test"], "a") as f:
        f.write(f"{clips[0]}\n")
    (tmp_path / "file").touch()
    done = call("check", tmp_path / "file/s", *options_of(listed))
    lines = done.stdout.splitlines()
    assert done.status == 7 and codes_of([done.stderr.strip()]) == ["check.errors"]
    assert lines[0].startswith(f"ERROR    {tmp_path}/file/s: ") and codes_of(lines[:1]) == ["disk.in-the-way"]
    assert lines[1].startswith(f"warning  {listed['test']}: ") and codes_of(lines[1:2]) == ["list.leak"]
    assert {line.split()[0] for line in lines[2:]} == {"ok"}
    (tmp_path / "bad.txt").write_text(f"{clips[0]}\n\0\n")
    done = call("check", tmp_path / "file/s", "--features", listed["features"], tmp_path / "bad.txt")
    lines = done.stdout.splitlines()
    assert done.status == 3 and lines[0].startswith(f"ERROR    {tmp_path}/bad.txt:2: ")
    assert codes_of(lines) == ["list.nul", "disk.in-the-way"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--train", "train", "train", "--test", "test"], 2),
        (["--train", "train"], 0),
        (["--test", "test"], 0),
        (["--test", "test", "--train", "train", "--train", "train", "--test", "test"], 0),
        (["--train", "test"], 3),
        (["--test", "train"], 3),
        (["--test"], 2),
        (["--groups", "test"], 3),
        (["--bands", "5"], 2),
        (["train"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_check_takes_each_list_by_its_option(listed, tmp_path, arguments, status):
    named = [listed.get(word, word) for word in arguments]
    assert call("check", tmp_path / "s", *named, "--rate", 22050).status == status


def test_a_run_reports_the_problems_of_all_its_lists(tmp_path):
    (tmp_path / "train").write_text("no tab\n")
    (tmp_path / "test").write_text("\0\n")
    (tmp_path / "groups").write_text("a.wav\t\n")
    done = call("train-and-classify", tmp_path / "s", tmp_path / "train", tmp_path / "test", tmp_path / "out")
    assert done.status == 3 and codes_of(done.stderr.splitlines()) == ["list.no-tab", "list.nul"]
    groups = ("--patience", 2, "--groups", tmp_path / "groups")
    done = call("train", *groups, tmp_path / "s", tmp_path / "test", tmp_path / "train")
    assert done.status == 3
    assert all(f"{tmp_path}/{name}:1: " in done.stderr for name in ("train", "test", "groups"))


def test_a_run_that_would_fill_the_disk_does_not_start(listed, tmp_path):
    huge = write_huge(tmp_path / "huge.wav")
    with open(listed["train"], "a") as f:
        for k in range(50):
            os.symlink(huge, tmp_path / f"{k}.wav")
            f.write(f"{tmp_path}/{k}.wav\tb\n")
    arguments = ("--rate", 22050, "--bands", 2048, tmp_path / "s", listed["train"])
    for options in ((), ("--dry-run",)):
        done = call("train", *options, *arguments)
        assert done.status == 7 and "[disk.space]" in done.stderr and "--no-check" in done.stderr
    assert not list(tmp_path.rglob("*.logmel"))


@pytest.mark.parametrize("options", [(), ("--no-check",)], ids=["checked", "not"])
def test_a_run_with_too_much_unreadable_audio_does_not_start_unless_the_check_is_skipped(clips, tmp_path, options):
    bad = [f"{tmp_path}/missing{k}.wav" for k in range(2)]
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in (clips[0], *bad)))
    done = call("extract", *options, tmp_path / "s", tmp_path / "list")
    assert done.status == 4 and "[audio.too-many]" in done.stderr
    assert all(done.stderr.count(f"{path}: ") == 1 for path in bad)
    assert len(list(tmp_path.rglob("*.logmel"))) == bool(options)


def test_a_run_names_each_unreadable_track_once(clips, tmp_path):
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in (*clips, f"{tmp_path}/missing.wav")))
    done = call("extract", tmp_path / "s", tmp_path / "list")
    assert done.status == 0 and done.stderr.count("missing.wav: ") == 1


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_run_for_a_missing_gpu_is_status_6_before_tensorflow_is_loaded(listed, tmp_path):
    options = ["--device", "gpu", tmp_path / "s"]
    for done in call_all([["train", *options, listed["train"]], ["check", *options]], tmp_path):
        assert done.status == 6 and not {"tensorflow", "keras", "matplotlib"} & done.modules, done.stderr
    assert not list(tmp_path.rglob("*.logmel"))
