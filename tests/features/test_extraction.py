"""Extraction of many tracks: parallel as sequential, re-used while it is true, and no track ends the run."""

import dataclasses
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import soundfile

from mirex_submission.errors import ResourceError, StorageError
from mirex_submission.features import extraction, kernel
from mirex_submission.features.audio import decode
from mirex_submission.features.extraction import extract, extract_track
from mirex_submission.features.logmel import log_mel
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, content_hash
from mirex_submission.system.workers import Workers

RATE = 11025
SPEC = FeatureSpec(rate_hz=RATE, n_frames=8)


def write_tracks(folder, n, *, rate_hz=RATE, seed=0):
    folder.mkdir(exist_ok=True)
    paths = [str(folder / f"{k:02}.wav") for k in range(n)]
    for k, path in enumerate(paths):
        soundfile.write(path, np.random.default_rng((seed, k)).uniform(-0.5, 0.5, rate_hz // 2 + 50 * k), rate_hz)
    return paths


def stored(store):
    return {p.name: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}


def stamps(store):
    return {p.name: (p.stat().st_mtime_ns, p.stat().st_ino) for p in store.folder.rglob("*") if p.is_file()}


def test_stored_frames_are_the_log_mel_of_the_decoded_track(tmp_path):
    (path,) = write_tracks(tmp_path / "a", 1, rate_hz=22050)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    record = extract([path], [store], Workers(1))[path]
    header, frames = store.read(path)
    assert record.content == header.content and record.reason == ""
    np.testing.assert_array_equal(frames, log_mel(decode(path, rate_hz=RATE).samples, SPEC))
    assert header.n_frames == len(frames) and header.duration_s == pytest.approx(0.5, abs=1e-3)


def test_parallel_gives_the_same_bytes_as_one_at_a_time(tmp_path, caplog):
    paths = write_tracks(tmp_path / "a", 32)
    one, two = FeatureStore(tmp_path / "one", SPEC), FeatureStore(tmp_path / "two", SPEC)
    with caplog.at_level("INFO"):
        records = extract(paths, [one], Workers(1))
        assert extract(paths, [two], Workers(2)) == records
    assert at_a_time(caplog) == [1, 2]
    assert len(stored(one)) == 32
    assert stored(two) == stored(one)


def test_a_second_run_extracts_only_new_tracks(tmp_path):
    paths = write_tracks(tmp_path / "a", 4)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract(paths[:3], [store], Workers(1))
    before, bytes_before = stamps(store), stored(store)
    records = extract([*paths, paths[0]], [store], Workers(1))
    assert set(records) == set(paths) and all(r.content for r in records.values())
    after = stamps(store)
    assert len(after) == 4 and before.items() <= after.items() and bytes_before.items() <= stored(store).items()


@pytest.mark.parametrize("change", ["size", "time", "content"])
def test_changed_audio_is_extracted_anew(tmp_path, change):
    paths = write_tracks(tmp_path / "a", 2)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract(paths, [store], Workers(1))
    before, other_stamp, stat = store.read(paths[0]), store.file_of(paths[1]).stat().st_mtime_ns, os.stat(paths[0])
    n = RATE // 2 + (100 if change == "size" else 0)
    soundfile.write(paths[0], np.random.default_rng(9).uniform(-0.5, 0.5, n), RATE)
    while True:  # until the system's clock has ticked
        os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + (10**9 if change == "time" else 0)))
        if os.stat(paths[0]).st_ctime_ns != stat.st_ctime_ns:
            break
    assert (os.stat(paths[0]).st_size == stat.st_size) == (change != "size")
    extract(paths, [store], Workers(1))
    header, frames = store.read(paths[0])
    assert header.content != before[0].content
    np.testing.assert_array_equal(frames, log_mel(decode(paths[0]).samples, SPEC))
    assert store.file_of(paths[1]).stat().st_mtime_ns == other_stamp


@pytest.mark.parametrize("change", [{"rate_hz": 22050}, {"n_bands": 20}, {"n_frames": 9}])
def test_a_changed_spec_is_extracted_beside_the_old_one(tmp_path, change):
    (path,) = write_tracks(tmp_path / "a", 1)
    old = FeatureStore(tmp_path / "scratch", SPEC)
    new = FeatureStore(tmp_path / "scratch", FeatureSpec(**{"rate_hz": RATE, "n_frames": 8, **change}))
    extract([path], [old], Workers(1))
    before = stamps(old)
    extract([path], [new], Workers(1))
    np.testing.assert_array_equal(new.read(path)[1], log_mel(decode(path, rate_hz=new.spec.rate_hz).samples, new.spec))
    assert stamps(old) == before


def test_equal_file_names_in_two_folders_do_not_collide(tmp_path):
    paths = [write_tracks(tmp_path / name, 1, seed=seed)[0] for seed, name in enumerate("ab")]
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract(paths, [store], Workers(1))
    for path in paths:
        np.testing.assert_array_equal(store.read(path)[1], log_mel(decode(path).samples, SPEC))


def write_samples(samples, **options):
    return lambda path: soundfile.write(path, samples, RATE, **options)


BAD = {
    "unreadable": (lambda p: p.write_bytes(os.urandom(5000)), "audio.undecodable"),
    "text": (lambda p: p.write_text("no audio\n" * 50), "audio.undecodable"),
    "empty": (lambda p: p.touch(), "audio.empty"),
    "no-samples": (write_samples(np.zeros(0)), "audio.empty"),
    "silent": (write_samples(np.zeros(RATE)), "audio.silent"),
    "nan": (write_samples(np.full(RATE, np.nan), subtype="FLOAT"), "audio.not-finite"),
    "folder": (lambda p: p.mkdir(), "audio.no-file"),
    "fifo": (os.mkfifo, "audio.no-file"),
    "missing": (lambda p: None, "audio.unreadable"),
    "forbidden": (lambda p: (write_samples(np.ones(RATE))(p), p.chmod(0)), "audio.unreadable"),
}
if os.geteuid() == 0:  # root may read everything
    del BAD["forbidden"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_track_becomes_a_record_with_its_reason(tmp_path, caplog, kind):
    make, code = BAD[kind]
    make(tmp_path / "bad.wav")
    bad, (good,) = str(tmp_path / "bad.wav"), write_tracks(tmp_path / "a", 1)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    records = extract([bad, good], [store], Workers(1))
    assert not records[bad].content and records[bad].reason.endswith(f" [{code}]")
    assert store.read(bad) is None and store.fresh(bad) is None
    assert records[good].content and store.read(good)
    assert caplog.text.count(f"{bad}: {records[bad].reason}") == 1


def test_all_bad_tracks_together_do_not_end_a_parallel_run(tmp_path):
    good = write_tracks(tmp_path / "a", 32)
    bad = []
    for kind, (make, _) in BAD.items():
        make(tmp_path / f"{kind}.wav")
        bad.append(str(tmp_path / f"{kind}.wav"))
    records = extract([*bad, *good], [FeatureStore(tmp_path / "scratch", SPEC)], Workers(2))
    assert {path for path, record in records.items() if record.content} == set(good)
    assert all(records[path].reason for path in bad)


def test_an_unexpected_error_becomes_a_record_too(tmp_path, monkeypatch):
    (good,) = write_tracks(tmp_path / "a", 1)
    monkeypatch.setattr("mirex_submission.features.audio.streams_of", lambda *_: 1 / 0)
    record = extraction.extract_track(good, [FeatureStore(tmp_path / "scratch", SPEC)])
    assert not record.content and record.reason.endswith(" [audio.unexpected]")


def test_too_many_open_files_are_not_an_error_of_the_track(tmp_path):
    (good,) = write_tracks(tmp_path / "a", 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(ResourceError) as raised:
            extraction.extract_track(good, [FeatureStore(tmp_path / "scratch", SPEC)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert raised.value.code == "limits.files"


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_truncated_track_is_used_up_to_its_end(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, np.random.default_rng(1).uniform(-0.5, 0.5, 4 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store = FeatureStore(tmp_path / "scratch", SPEC)
    assert extract([str(path)], [store], Workers(1))[str(path)].duration_s == pytest.approx(2.0, abs=0.5)


@pytest.mark.parametrize("gain", [1.0, 1e30])
def test_float_wav_is_accepted_and_gives_finite_frames(tmp_path, gain):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, gain * np.random.default_rng(1).uniform(-0.5, 0.5, RATE), RATE, subtype="FLOAT")
    store = FeatureStore(tmp_path / "scratch", SPEC)
    record = extract([path], [store], Workers(1))[path]
    assert record.content or gain > 1
    assert record.reason if not record.content else np.isfinite(store.read(path)[1]).all()


def test_a_damaged_stored_file_is_extracted_again(tmp_path):
    (path,) = write_tracks(tmp_path / "a", 1)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract([path], [store], Workers(1))
    whole = store.file_of(path).read_bytes()
    store.file_of(path).write_bytes(whole[: len(whole) // 2])
    assert store.read(path) is None
    extract([path], [store], Workers(1))
    assert store.file_of(path).read_bytes() == whole


@pytest.mark.parametrize("threads", [1, 2])
def test_a_store_that_cannot_be_written_is_a_storage_error(tmp_path, threads):
    paths = write_tracks(tmp_path / "a", 32)
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(StorageError, match=r"scratch.*cannot be written"):
        extract(paths, [FeatureStore(tmp_path / "scratch", SPEC)], Workers(threads))


HEAVY = ["tensorflow", "keras", "pandas", "sklearn", "jax", "torch", "matplotlib"]
if kernel.compiled:
    HEAVY += ["librosa", "numba", "scipy"]
SPY = """
import json, os, sys
import mirex_submission.features.extraction as extraction
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system.workers import Workers

class Spy(FeatureStore):
    def write(self, header, frames):
        super().write(header, frames)
        with open(os.path.join(os.path.dirname(self.folder), f"{os.getpid()}.json"), "w") as f:
            json.dump(sorted(sys.modules), f)

heavy, scratch, *paths = sys.argv[1:]
assert [m for m in json.loads(heavy) if m in sys.modules] == []
extraction.extract(paths, [Spy(scratch, FeatureSpec(rate_hz=11025, n_frames=8))], Workers(2))
print(os.getpid())
"""


def test_workers_load_neither_tensorflow_nor_with_the_kernel_librosa(tmp_path):
    paths = write_tracks(tmp_path / "a", 32)
    command = [sys.executable, "-c", SPY, json.dumps(HEAVY), str(tmp_path / "scratch"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "scratch" / "features").glob("*.json")}
    assert seen and done.stdout.strip() not in seen  # all work was done by other processes
    for modules in seen.values():
        assert "mirex_submission.features.logmel" in modules and not set(HEAVY) & set(modules)


# Which processes.


def at_a_time(caplog):
    return [int(n) for message in caplog.messages for n in re.findall(r"^extraction: (\d+) at a time$", message)]


@pytest.mark.parametrize(("n_tracks", "n_jobs", "expected"), [(24, 2, 2), (24, 1, 1), (2, 2, 1), (24, -1, None)])
def test_few_tracks_are_decoded_in_few_processes(tmp_path, caplog, n_tracks, n_jobs, expected):
    paths = write_tracks(tmp_path / "a", n_tracks)
    store = Witness(tmp_path / "scratch", SPEC)
    with caplog.at_level("INFO"):
        extract(paths, [store], Workers(n_jobs))
    assert at_a_time(caplog) == [expected or min(3, joblib.cpu_count())]
    assert len(stored(store)) == n_tracks
    assert store.writers() and os.getpid() not in store.writers()


def test_no_process_is_started_for_stored_features(tmp_path, monkeypatch):
    paths = write_tracks(tmp_path / "a", 2)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract(paths, [store], Workers(2))
    monkeypatch.setattr(Workers, "joined", lambda self: pytest.fail("processes are started"))
    assert all(record.content for record in extract(paths, [store], Workers(2)).values())


class Witness(FeatureStore):
    """A store that notes which processes write to it."""

    def write(self, header, frames):
        super().write(header, frames)
        (self.folder.parent / f"{os.getpid()}.pid").touch()

    def writers(self):
        return {int(p.stem) for p in self.folder.parent.glob("*.pid")}


class Deadly(FeatureStore):
    """A store in which one track kills the process that extracts it, as a crash in a decoder does."""

    def write(self, header, frames):
        if header.path.endswith("03.wav"):
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(header, frames)


@pytest.mark.parametrize(("n_tracks", "n_jobs"), [pytest.param(4, 1, marks=pytest.mark.slow), (24, 2)])
def test_a_decoder_crash_loses_only_its_track_in_every_run(tmp_path, n_tracks, n_jobs):
    paths = write_tracks(tmp_path / "a", n_tracks)
    store = Deadly(tmp_path / "scratch", SPEC)
    for todo in (paths, paths):  # the second time nothing else is left to do
        records = extract(todo, [store], Workers(n_jobs))
        assert [path for path in todo if not records[path].content] == [paths[3]]
        assert records[paths[3]].reason.endswith(" [audio.crash]")
    # A worker that was ended while it wrote leaves a part of a file, which the next run removes.
    assert len([name for name in stored(store) if name.endswith(".logmel")]) == n_tracks - 1


# Checking what is stored.


def flip(path, *, last=False):
    """Flip one bit of a file, and put its times back as far as the system lets one."""
    stat = os.stat(path)
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        data[-1 if last else len(data) // 2] ^= 1
        f.seek(0)
        f.write(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class WithoutChangeTimes(FeatureStore):
    """A store on a file system that knows of a file only its size and the modification time, which anyone may set."""

    def write(self, header, frames):
        super().write(dataclasses.replace(header, audio=dataclasses.replace(header.audio, changed_ns=0)), frames)


def test_verify_finds_and_repairs_a_flipped_bit_of_stored_frames(tmp_path):
    paths = write_tracks(tmp_path / "a", 3)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    first = extract(paths, [store], Workers(1))
    whole, others = stored(store), stamps(store)
    flip(store.file_of(paths[1]), last=True)
    extract(paths, [store], Workers(1))
    assert stored(store) != whole  # the header alone does not tell
    records = extract(paths, [store], Workers(1), verify=True)
    assert stored(store) == whole
    assert [records[path].content for path in paths] == [first[path].content for path in paths]
    del others[store.file_of(paths[1]).name]
    assert others.items() <= stamps(store).items()  # the sound ones are left as they are


def test_verify_finds_a_flipped_bit_of_audio_and_extracts_again(tmp_path, monkeypatch):
    of = AudioState.of
    monkeypatch.setattr(AudioState, "of", lambda path: dataclasses.replace(of(path), changed_ns=0))
    paths = write_tracks(tmp_path / "a", 3)
    store = WithoutChangeTimes(tmp_path / "scratch", SPEC)
    first = extract(paths, [store], Workers(1))
    others = stamps(store)
    flip(paths[1])
    assert extract(paths, [store], Workers(1))[paths[1]].content == first[paths[1]].content
    records = extract(paths, [store], Workers(1), verify=True)
    assert records[paths[1]].content == content_hash(paths[1]) != first[paths[1]].content
    np.testing.assert_array_equal(store.read(paths[1])[1], log_mel(decode(paths[1]).samples, SPEC))
    del others[store.file_of(paths[1]).name]
    assert others.items() <= stamps(store).items()


@pytest.mark.parametrize("verify", [False, True])
def test_a_second_run_opens_audio_only_to_verify_it(tmp_path, verify):
    """Counted by the interpreter's own audit of opened files, in a process of its own."""
    paths = write_tracks(tmp_path / "a", 3)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    extract(paths, [store], Workers(1))
    before = stamps(store)
    command = [sys.executable, "-c", OPENED, str(int(verify)), str(tmp_path / "scratch"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    opened = json.loads(done.stdout)
    assert sorted(p for p in opened if p in paths) == (paths if verify else [])
    assert {p for p in opened if p.endswith(".logmel")} == {str(store.file_of(path)) for path in paths}
    assert stamps(store) == before


OPENED = """
import json, sys
from mirex_submission.features.extraction import extract, extract_track
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import FeatureStore
from mirex_submission.system.workers import Workers

verify, scratch, *paths = sys.argv[1:]
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
extract(paths, [FeatureStore(scratch, FeatureSpec(rate_hz=11025, n_frames=8))], Workers(1), verify=verify == "1")
print(json.dumps(opened))
"""


def test_the_output_of_decoders_is_not_in_the_log(tmp_path):
    data = io.BytesIO()
    soundfile.write(data, np.random.default_rng(1).uniform(-0.5, 0.5, 4 * RATE), RATE, format="MP3")
    stream = data.getvalue()
    (tmp_path / "a.mp3").write_bytes(stream[: len(stream) // 3] + stream[len(stream) // 2 :])  # libmpg123 prints notes
    run = subprocess.run(
        [sys.executable, "-m", "mirex_submission", "extract", tmp_path / "scratch", "/dev/stdin"],
        input=f"{tmp_path}/a.mp3\n",
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    assert all(line[:4].isdigit() for line in run.stderr.splitlines())


def test_a_track_that_takes_too_long_is_unreadable(tmp_path):
    (good,) = write_tracks(tmp_path / "a", 1)
    slow = tmp_path / "slow.flac"
    soundfile.write(slow, np.zeros(3 * 3600 * 8000, np.int16), 8000)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    records = extract([str(slow), good], [store], Workers(1, limit_s=0.3))
    assert records[str(slow)].reason.endswith(" [audio.track-limit]") and records[good].content


def test_the_time_limit_holds_in_other_threads_than_the_main_one(tmp_path):
    # As in a worker of Dask.
    (good,) = write_tracks(tmp_path / "a", 1)
    slow = tmp_path / "slow.flac"
    soundfile.write(slow, np.zeros(3 * 3600 * 8000, np.int16), 8000)
    store = FeatureStore(tmp_path / "scratch", SPEC)
    before = threading.active_count()
    with ThreadPoolExecutor(1) as thread:
        limits = {str(slow): 0.3, good: 30.0}
        records = [thread.submit(extract_track, track, [store], limits[track]).result() for track in 2 * list(limits)]
    codes = [record.reason.rpartition(" ")[2] for record in records]
    assert codes == ["[audio.track-limit]", "", "[audio.track-limit]", ""]
    until = time.monotonic() + 30
    while threading.active_count() > before:  # nothing watches a track that is done
        assert time.monotonic() < until
        time.sleep(0.02)
