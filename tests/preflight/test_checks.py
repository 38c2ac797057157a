"""What is known before hours of work: each finding, at the start of runs and in the command `check`."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mirex_submission.errors import AudioError, ListError, StorageError, UsageError
from mirex_submission.features import audio, store
from mirex_submission.features.extraction import extract
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.networks import engine as engines
from mirex_submission.preflight import checks as preflight
from mirex_submission.preflight.checks import FACT, FAULT, WARNING, Run
from mirex_submission.protocol.lists import Track
from mirex_submission.runs import submission
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
    """A header and 4 GB of silence at 1000 Hz, 49 days, that take no room: of such a one nothing more can be done."""
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
    return Run(tmp_path / "scratch", SPEC, clips)


def checked(run, severity=None):
    """The findings of a run: all, or their texts if they are of that severity."""
    found = preflight.check(run, Headers(2))
    return found if severity is None else [finding.text for finding in found if finding.severity == severity]


# What is read, and how much of it.


@pytest.mark.parametrize("rate_hz", [11025, 22050, 44100])
def test_frames_and_room_that_headers_promise_are_what_extraction_makes(tmp_path, clips, rate_hz):
    features = FeatureStore(tmp_path / "s", FeatureSpec(rate_hz))
    before = preflight.survey(clips, features, Headers(1))
    assert before.n_stored == 0 and len(before.new) == len(clips)
    extract(clips, features, Workers(1))
    after = preflight.survey(clips, features, Headers(1))
    assert after.n_stored == len(clips) and not after.new
    for path in clips:  # MP3's decoder adds some samples
        assert abs(before.frames[path] - after.frames[path]) <= path.endswith("mp3") * 4
    for path, estimate in zip(clips, before.new, strict=True):
        assert estimate - 3 * 4096 <= features.file_of(path).stat().st_size <= estimate + 4096


def test_a_clip_of_30_s_takes_a_seventh_of_a_megabyte(tmp_path):
    path = write_clip(tmp_path / "a.wav", seconds=30)
    (estimate,) = preflight.survey([path], FeatureStore(tmp_path, SPEC), Headers(1)).new
    assert estimate == pytest.approx(0.14e6, rel=0.02)


def test_every_header_is_read_once_by_rate_and_check_together_and_none_of_what_is_stored(run, clips, monkeypatch):
    opened = []
    read_header = audio.read_header
    monkeypatch.setattr(audio, "read_header", lambda path: opened.append(path) or read_header(path))
    for _ in range(2):
        headers = Headers(2)
        spec = submission.choose_spec(
            run.scratch, clips, rate="auto", n_bands=40, n_frames=80, threads=1, headers=headers
        )
        preflight.check(dataclasses.replace(run, spec=spec), headers)
        assert Counter(opened) == Counter(clips)
        opened.clear()
    extract(clips, FeatureStore(run.scratch, SPEC), Workers(1))
    preflight.check(run, Headers(2))
    assert opened == []


def test_of_a_file_that_was_only_touched_the_audio_is_not_read(run, clips, monkeypatch):
    extract(clips, FeatureStore(run.scratch, SPEC), Workers(1))
    for path in clips:
        os.chmod(path, 0o600)
    monkeypatch.setattr(store, "content_hash", lambda path: pytest.fail("read"))
    assert f"{len(clips)} are stored, 0 to extract" in " ".join(checked(run, FACT))
    with pytest.raises(pytest.fail.Exception):  # as the run itself will
        FeatureStore(run.scratch, SPEC).fresh(clips[0])


def test_a_header_that_promises_a_year_is_not_believed(tmp_path):
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


# Findings.


def test_a_run_for_which_all_is_there_has_facts_only(run, clips):
    tracks = [Track(path, "ab"[k % 2]) for k, path in enumerate(clips)]
    found = checked(dataclasses.replace(run, trainings=[tracks], heard=[clips], device="cpu", strict=True))
    assert {finding.severity for finding in found} == {FACT}


def test_tracks_that_cannot_be_read_are_warnings_and_too_many_of_them_a_fault_that_comes_first(run, clips, tmp_path):
    bad = [str(tmp_path / name) for name in ("missing.wav", "text.wav")]
    Path(bad[1]).write_text("no audio")
    where = {bad[0]: "list.txt:7: "}
    few = dataclasses.replace(run, paths=[*clips, *bad], heard=[[*clips, *bad]], where=where)
    warnings = checked(few, WARNING)
    assert f"list.txt:7: {bad[0]}: cannot be read: No such file or directory [audio.unreadable]" in warnings
    assert any(text.startswith(f"{bad[1]}: cannot be decoded") for text in warnings) and checked(few, FAULT) == []
    for many in (
        dataclasses.replace(few, heard=[[clips[0], *bad]]),
        dataclasses.replace(few, strict=True),
        dataclasses.replace(
            few, heard=[], trainings=[[Track(clips[0], "a"), Track(clips[1], "b"), Track(bad[0], "b")]]
        ),
        dataclasses.replace(few, heard=[], trainings=[[Track(clips[0], "a"), Track(bad[0], "b")]], max_bad=1.0),
    ):
        found = checked(many)
        assert (found[0].severity, found[0].kind) == (FAULT, AudioError)
        assert [finding.severity for finding in found] == sorted((f.severity for f in found), reverse=True)


def test_a_disk_without_room_is_a_fault_and_says_for_what(tmp_path):
    paths = [write_huge(tmp_path / "huge.wav")]
    for k in range(50):
        paths.append(str(tmp_path / f"{k}.wav"))
        os.symlink(paths[0], paths[-1])
    run = Run(tmp_path / "scratch", FeatureSpec(n_bands=2048), paths, n_jobs=len(paths))
    (fault,) = (finding for finding in checked(run) if finding.severity == FAULT)
    assert fault.kind is StorageError and "for features" in fault.text and "free some space" in fault.text
    (memory,) = (text for text in checked(run, WARNING) if text.startswith("memory"))
    assert "give fewer processes" in memory


def test_a_training_needs_room_for_its_frames_segments_and_models(run, clips, tmp_path):
    tracks = [Track(path, "ab"[k % 2]) for k, path in enumerate(clips)]

    def said(**options):
        """Megabytes for the frames, and for the models and their states."""
        training = dataclasses.replace(run, trainings=[tracks], recipe=Recipe(**options))
        (text,) = (text for text in checked(training, FACT) if "needed (" in text)
        return [int(n) for n in re.findall(r"(\d+) MB for the frames|(\d+) MB for models", text) for n in n if n]

    folder = submission.train(tmp_path / "s", tracks, Recipe(epochs=1, segments_per_track=1), SPEC, threads=1)
    (model,) = folder.glob("*.npz")
    model_mb = model.stat().st_size / 1e6
    assert said() == [0, pytest.approx(4 * model_mb, abs=1)]  # the model, two states, and the next one
    assert said(patience=3) == [0, pytest.approx(7 * model_mb, abs=1)]  # in states also the best so far
    assert said(segments_per_track=100_000)[0] == 6  # 12 bytes a segment


def test_a_scratch_folder_that_cannot_be_written_is_a_fault_unless_nothing_is_to_be_written(run, clips, tmp_path):
    (tmp_path / "file").touch()
    nowhere = dataclasses.replace(run, scratch=tmp_path / "file" / "scratch")
    assert checked(nowhere)[0].kind is StorageError and checked(nowhere)[0].severity == FAULT
    assert checked(dataclasses.replace(nowhere, paths=[]))[0].severity == FAULT
    unreadable = dataclasses.replace(nowhere, paths=[str(tmp_path / "missing.wav")])
    assert checked(unreadable, FAULT) == []


def test_more_threads_than_processors_are_a_warning_with_the_number_that_will_do(run):
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(mine)])
    try:
        found = checked(dataclasses.replace(run, threads=3), WARNING)
    finally:
        os.sched_setaffinity(0, mine)
    assert [text for text in found if "3 threads or processes on 1 processors" in text and "give 1 with" in text]


def test_a_package_that_is_missed_only_after_hours_is_a_fault_now(run, clips, monkeypatch):
    wrong = [Package("matplotlib", "", ">=3.8", False), Package("jinja2", "2.0", ">=3.1", False)]
    monkeypatch.setattr(installation, "packages", lambda: wrong)
    assert [text.split(":")[0] for text in checked(run, WARNING)] == ["matplotlib is not installed", "jinja2 2.0"]
    training = dataclasses.replace(run, trainings=[[Track(clips[0], "a"), Track(clips[1], "b")]])
    fault = checked(training)[0]
    assert fault.severity == FAULT and fault.kind is UsageError and "pip install" in fault.text


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
def test_a_gpu_that_is_not_there_is_a_fault_that_is_known_without_keras(run):
    fault = checked(dataclasses.replace(run, device="gpu:0,1"))[0]
    assert fault.severity == FAULT and fault.kind.exit_status == 6
    assert "2 GPU requested" in fault.text and "[device.no-gpu]" in fault.text


def test_all_lists_are_read_and_all_faults_of_all_named(tmp_path):
    (tmp_path / "train").write_text("/none/a.wav\tx\n/none/b.wav\t\nno tab\n/none/c.wav\ty\n")
    (tmp_path / "test").write_text("/none/d.wav\n\0\n")
    (tmp_path / "groups").write_text("/none/a.wav\n")
    names = [str(tmp_path / name) for name in ("train", "test", "missing", "groups")]
    read, found = preflight.read_lists(names[:3], names[3])
    assert read == [] and {finding.kind for finding in found} == {ListError}
    assert [finding.text.partition(": ")[0] for finding in found] == [
        f"{names[0]}:2", f"{names[0]}:3", f"{names[1]}:2", names[2], f"{names[3]}:1",
    ]  # fmt: skip


# The command, and the same check at the start of a run.


@pytest.fixture
def listed(tmp_path, clips):
    """Lists of the clips: all, for training, for testing."""
    contents = {
        "features": "".join(f"{path}\n" for path in clips),
        "train": "".join(f"{path}\t{'ab'[k % 2]}\n" for k, path in enumerate(clips[:3])),
        "test": "".join(f"{path}\n" for path in clips[3:]),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_text(content)
    return {name: tmp_path / f"{name}.txt" for name in contents}


def test_check_says_what_each_list_is_and_that_all_is_there(run_script, listed, tmp_path):
    done = run_script("mirex-submission.sh", "check", tmp_path / "s", *listed.values())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    for kind, name in (("feature", "features"), ("training", "train"), ("test", "test")):
        assert any(f"{listed[name]}: a {kind} list" in line for line in lines)
    assert not (tmp_path / "s").exists()


def test_check_without_lists_looks_at_the_machine_and_finds_a_damaged_model(run_script, listed, tmp_path):
    scratch = tmp_path / "s"
    assert run_script("train.sh", "--epochs", 1, scratch, listed["train"]).returncode == 0
    done = run_script("mirex-submission.sh", "check", scratch)
    assert (
        done.returncode == 0 and f"ok       {scratch}/model: model 2, trained on 3 tracks of 2 classes" in done.stdout
    )
    (weights,) = (scratch / "model").glob("*.npz")
    weights.write_bytes(weights.read_bytes()[:-1])
    done = run_script("mirex-submission.sh", "check", scratch)
    assert f"warning  {weights}: damaged: train again" in done.stdout and "FAULT" not in done.stdout


def test_check_of_a_model_whose_folder_cannot_be_looked_into_is_a_warning(run_script, tmp_path):
    name = "n" * 300  # longer than any file system takes: for root, who may look into every folder, the only such one
    (tmp_path / "models").mkdir()
    done = run_script("mirex-submission.sh", "check", "--name", name, tmp_path)
    assert "File name too long" in done.stdout and "Traceback" not in done.stderr
    assert done.returncode == 0


def test_check_names_all_faults_worst_first_and_has_the_status_of_the_first(run_script, listed, clips, tmp_path):
    with open(listed["test"], "a") as f:
        f.write(f"{clips[0]}\n")
    (tmp_path / "bad.txt").write_text(f"{clips[0]}\n\0\n")
    (tmp_path / "file").touch()
    done = run_script("mirex-submission.sh", "check", tmp_path / "file/s", *listed.values(), tmp_path / "bad.txt")
    lines = done.stdout.splitlines()
    assert done.returncode == 3
    assert lines[0].startswith(f"FAULT    {tmp_path}/bad.txt:2: a NUL")
    assert lines[1].startswith(f"FAULT    {tmp_path}/file/s: cannot be written")
    assert lines[2].startswith(f"warning  {listed['test']}: 1 track(s) are in {listed['train']} too")
    assert [line.split()[0] for line in lines[3:]] == ["ok"] * len(lines[3:])
    assert "2 fault(s), of which the first would end a run with status 3" in done.stderr


def test_a_run_names_the_faults_of_all_its_lists(run_script, tmp_path):
    (tmp_path / "train").write_text("no tab\n")
    (tmp_path / "test").write_text("\0\n")
    done = run_script("trainAndClassify.sh", tmp_path / "s", tmp_path / "train", tmp_path / "test", tmp_path / "out")
    assert done.returncode == 3 and "train:1: no tab" in done.stderr and "test:1: a NUL" in done.stderr
    (tmp_path / "groups").write_text("\t\n")
    arguments = (
        "--patience",
        2,
        "--groups",
        tmp_path / "groups",
        tmp_path / "s",
        tmp_path / "test",
        tmp_path / "train",
    )
    done = run_script("train.sh", *arguments)
    assert done.returncode == 3
    assert all(f"{tmp_path}/{name}:1: " in done.stderr for name in ("train", "test", "groups"))


def test_a_run_that_would_end_in_a_full_disk_ends_before_the_work(run_script, listed, tmp_path):
    huge = write_huge(tmp_path / "huge.wav")
    with open(listed["train"], "a") as f:
        for k in range(50):
            os.symlink(huge, tmp_path / f"{k}.wav")
            f.write(f"{tmp_path}/{k}.wav\tb\n")
    arguments = ("--rate", 22050, "--bands", 2048, tmp_path / "s", listed["train"])
    done = run_script("train.sh", *arguments)
    assert done.returncode == 7 and "nothing was begun; --no-check begins all the same" in done.stderr
    assert not list(tmp_path.rglob("*.logmel"))
    assert run_script("train.sh", "--dry-run", *arguments).returncode == 7


@pytest.mark.parametrize("options", [(), ("--no-check",)], ids=["checked", "not"])
def test_a_run_with_too_much_unreadable_audio_ends_before_the_work_unless_told_not_to_look(
    run_script, clips, tmp_path, options
):
    bad = [f"{tmp_path}/missing{k}.wav" for k in range(2)]
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in (clips[0], *bad)))
    done = run_script("extractFeatures.sh", *options, tmp_path / "s", tmp_path / "list")
    assert done.returncode == 4 and "2 of 3 tracks cannot be used" in done.stderr
    assert all(done.stderr.count(f"{path}: cannot be read") == 1 for path in bad)
    assert len(list(tmp_path.rglob("*.logmel"))) == bool(options)


def test_a_run_that_goes_on_names_each_unreadable_track_once(run_script, clips, tmp_path):
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in (*clips, f"{tmp_path}/missing.wav")))
    done = run_script("extractFeatures.sh", tmp_path / "s", tmp_path / "list")
    assert done.returncode == 0 and done.stderr.count("missing.wav: cannot be read") == 1


CODE = """
import json, sys
from mirex_submission.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted({"tensorflow", "keras", "matplotlib"} & set(sys.modules))]))
"""


@pytest.mark.skipif(engines._may_have_gpu(), reason="this system has a device of a GPU")
@pytest.mark.parametrize("command", ["train", "check"])
def test_a_run_for_a_gpu_that_is_not_there_is_status_6_before_tensorflow_is_loaded(listed, tmp_path, command):
    arguments = [command, "--device", "gpu", str(tmp_path / "s"), str(listed["train"])]
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [6, []], done.stderr
    assert not list(tmp_path.rglob("*.logmel"))
