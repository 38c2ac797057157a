"""Feature files: their content, when they are fresh, and how damage is detected."""

import dataclasses
import json
import os
import shutil
import tracemalloc

import numpy as np
import pytest
import soundfile
import xxhash

from mirex_submission.errors import StorageError
from mirex_submission.features.extraction import extract
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.features.store import AudioState, FeatureStore, Header, content_hash
from mirex_submission.system.atomic import digest
from mirex_submission.system.workers import Workers

SPEC = FeatureSpec(rate_hz=11025, n_bands=3, n_frames=2)
FRAMES = np.arange(-6, 6, dtype=np.float32).reshape(4, 3) / 7


@pytest.fixture
def track(tmp_path):
    path = tmp_path / "Ä b.wav"
    soundfile.write(path, np.linspace(-1, 1, 500), 11025)
    return str(path)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "scratch", SPEC)


def header_of(path):
    return Header(os.path.abspath(path), AudioState.of(path), content_hash(path), SPEC, len(FRAMES), 0.5, "a note")


def put_times_back(path, stat):
    """Restore the modification time, and wait until the system's clock has advanced since `stat`."""
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    while os.stat(path).st_ctime_ns == stat.st_ctime_ns:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_written_features_are_read(store, track):
    assert store.read(track) is None and store.fresh(track) is None
    store.write(header_of(track), FRAMES)
    header, frames = store.read(track)
    assert header == store.fresh(track) == header_of(track)
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, FRAMES)


def test_the_file_has_the_origin_of_its_features(store, track):
    store.write(header_of(track), FRAMES)
    magic, line, raw = store.file_of(track).read_bytes().split(b"\n", 2)
    assert magic.startswith(b"mirex-features ")
    made_from = json.loads(line)
    stat = os.stat(track)
    assert made_from["path"] == track
    assert made_from["audio"]["size"] == stat.st_size and made_from["audio"]["modified_ns"] == stat.st_mtime_ns
    assert made_from["content"] == content_hash(track)
    assert made_from["spec"] == {"rate_hz": 11025, "n_bands": 3, "n_frames": 2}
    assert raw == FRAMES.tobytes()


def test_files_are_in_the_folder_of_the_spec(store, track, tmp_path):
    store.write(header_of(track), FRAMES)
    written = [p for p in (tmp_path / "scratch").rglob("*") if p.is_file()]
    assert written == [store.file_of(track)]
    assert (tmp_path / "scratch" / "features" / SPEC.id) in written[0].parents


def test_equal_file_names_in_two_folders_do_not_collide(store, tmp_path):
    for k in range(2):
        (tmp_path / f"{k}").mkdir()
        soundfile.write(tmp_path / f"{k}" / "01.wav", np.ones(100), 11025)
        store.write(header_of(str(tmp_path / f"{k}" / "01.wav")), FRAMES + k)
    for k in range(2):
        np.testing.assert_array_equal(store.read(str(tmp_path / f"{k}" / "01.wav"))[1], FRAMES + k)


def test_a_relative_path_is_the_same_track(store, track, monkeypatch):
    store.write(header_of(track), FRAMES)
    monkeypatch.chdir(os.path.dirname(track))
    assert store.fresh(os.path.basename(track)) == header_of(track)


@pytest.mark.parametrize("change", [{"rate_hz": 22050}, {"n_bands": 4}, {"n_frames": 1}])
def test_another_spec_has_no_features_yet(store, track, tmp_path, change):
    store.write(header_of(track), FRAMES)
    other = FeatureStore(tmp_path / "scratch", FeatureSpec(**{"rate_hz": 11025, "n_bands": 3, "n_frames": 2, **change}))
    assert other.fresh(track) is None and other.read(track) is None
    other.file_of(track).parent.mkdir(parents=True)
    shutil.copy(store.file_of(track), other.file_of(track))  # even if someone puts them there
    assert other.fresh(track) is None and other.read(track) is None


def test_features_of_another_track_are_not_fresh(store, track, tmp_path):
    other = shutil.copy2(track, tmp_path / "other.wav")
    store.write(header_of(track), FRAMES)
    store.file_of(other).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(store.file_of(track), store.file_of(other))
    assert store.fresh(other) is None


def test_features_are_not_fresh_if_size_or_time_changed_or_the_audio_is_missing(store, track):
    store.write(header_of(track), FRAMES)
    stat = os.stat(track)
    os.utime(track, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1000))
    assert store.fresh(track) is None
    put_times_back(track, stat)
    assert store.fresh(track).content == content_hash(track)
    with open(track, "ab") as f:
        f.write(b"\0")
    put_times_back(track, stat)
    assert store.fresh(track) is None
    os.unlink(track)
    assert store.fresh(track) is None


def test_features_are_not_fresh_if_only_the_content_changed(store, track):
    store.write(header_of(track), FRAMES)
    stat = os.stat(track)
    soundfile.write(track, np.linspace(1, -1, 500), 11025)
    put_times_back(track, stat)
    assert (os.stat(track).st_size, os.stat(track).st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert store.fresh(track) is None


def test_features_are_fresh_if_content_and_time_are_restored(store, track):
    store.write(header_of(track), FRAMES)
    put_times_back(track, os.stat(track))
    assert store.fresh(track) is not None


def test_audio_with_a_time_before_1970_has_features(store, track):
    os.utime(track, ns=(0, -1_000_000_001))
    assert os.stat(track).st_mtime_ns < 0
    store.write(header_of(track), FRAMES)
    assert store.fresh(track) == header_of(track)
    assert store.read(track)[0] == header_of(track)


def test_every_truncation_is_detected(store, track):
    store.write(header_of(track), FRAMES)
    file = store.file_of(track)
    whole = file.read_bytes()
    for n in range(len(whole)):
        file.write_bytes(whole[:n])
        assert store.read(track) is None and store.fresh(track) is None, n
    file.write_bytes(whole + b"\0")
    assert store.read(track) is None and store.fresh(track) is None


@pytest.mark.parametrize("flip", [1, 4, 128])
def test_every_flipped_byte_is_detected_by_read_and_ends_no_run(store, track, flip):
    store.write(header_of(track), FRAMES)
    file = store.file_of(track)
    whole = file.read_bytes()
    for n in range(len(whole)):
        file.write_bytes(whole[:n] + bytes([whole[n] ^ flip]) + whole[n + 1 :])
        assert store.read(track) is None, n
        assert store.fresh(track) in (None, header_of(track)), n  # it looks at the header alone


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\n\n\n", b"mirex-features 3 \n[]\n", b"mirex-features 3 \n{}\n", b"PK\x03"]
)
def test_other_files_are_not_features(store, track, content):
    store.file_of(track).parent.mkdir(parents=True)
    store.file_of(track).write_bytes(content)
    assert store.read(track) is None and store.fresh(track) is None


@pytest.mark.parametrize("blocked", ["scratch", "scratch/features"])
def test_a_file_where_a_folder_should_be_is_a_storage_error(store, track, tmp_path, blocked):
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).write_text("in the way")
    assert store.fresh(track) is None and store.read(track) is None
    with pytest.raises(StorageError, match=r"cannot be written: .+: .+"):
        store.write(header_of(track), FRAMES)


def test_a_folder_where_the_file_should_be_is_a_storage_error(store, track):
    store.file_of(track).mkdir(parents=True)
    assert store.fresh(track) is None and store.read(track) is None
    with pytest.raises(StorageError, match="cannot be written: Is a directory"):
        store.write(header_of(track), FRAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"n_frames": 5}, {"n_frames": -4}, {"n_frames": 4.0}, {"n_frames": "4"}, {"n_frames": True}, {"n_frames": 1},
        {"content": "no hash"}, {"content": 3}, {"content": ""}, {"note": None}, {"path": 3}, {"duration_s": "1"},
        {"spec": {"rate_hz": 8000, "n_bands": 3, "n_frames": 2}}, {"spec": None}, {"audio": {"size": 1}},
        {"audio": {"size": "1", "modified_ns": 2, "changed_ns": 3}},
        {"audio": {"size": -1, "modified_ns": 2, "changed_ns": 3}},
    ],
    ids=str,
)  # fmt: skip
def test_an_invalid_header_with_valid_digests_is_refused(store, track, change):
    store.write(header_of(track), FRAMES)
    first, line, raw = store.file_of(track).read_bytes().split(b"\n", 2)
    for fields in ({}, change):
        forged = json.dumps({**json.loads(line), **fields}).encode() + b"\n"
        digests = f"{digest(forged)} {digest(forged, raw)}\n".encode()
        store.file_of(track).write_bytes(first[: first.index(b"3 ") + 2] + digests + forged + raw)
        assert (store.read(track) is None) == (store.fresh(track) is None) == bool(fields)


# As commit 156b048 wrote it, of a path that is no UTF-8.
OLD_NAME = "e2/e24ce215d41064c79f1409f7cbd59255.logmel"
OLD_FILE = (
    b"mirex-features 3 9a1ce5285ccf1c279ae61733ff410ff4 96da727e72ff7e9ceabb3dbc840acca1\n"
    b'{"path": "/music/\\udcff\\u00e9.wav", "audio": {"size": 1234, "modified_ns": 1700000000123456789, '
    b'"changed_ns": 1700000000987654321}, "content": "0123456789abcdef0123456789abcdef", '
    b'"spec": {"rate_hz": 11025, "n_bands": 3, "n_frames": 2}, "n_frames": 4, "duration_s": 0.5, '
    b'"note": "damaged after 0.4 s (Unspecified internal error)"}\n' + (np.arange(-6, 6, dtype="<f4") / 8).tobytes()
)
OLD_HEADER = Header(
    "/music/\udcffé.wav", AudioState(1234, 1700000000123456789, 1700000000987654321), "0123456789abcdef" * 2, SPEC, 4,
    0.5, "damaged after 0.4 s (Unspecified internal error)",
)  # fmt: skip


def test_a_file_of_commit_156b048_is_read_and_equals_one_written_today(store):
    file = store.folder / OLD_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(OLD_FILE)
    header, frames = store.read(OLD_HEADER.path)
    assert header == OLD_HEADER
    np.testing.assert_array_equal(frames, np.arange(-6, 6).reshape(4, 3) / 8)
    store.write(header, frames)
    assert file.read_bytes() == OLD_FILE


def test_features_stored_by_commit_156b048_are_not_made_again(store, track, monkeypatch):
    """The file is written here byte by byte, because it contains the times of a file of this test."""
    stat = os.stat(track)
    state = {"size": stat.st_size, "modified_ns": stat.st_mtime_ns, "changed_ns": stat.st_ctime_ns}
    spec = {"rate_hz": 11025, "n_bands": 3, "n_frames": 2}
    fields = {"path": track, "audio": state, "content": content_hash(track), "spec": spec}
    line = json.dumps({**fields, "n_frames": 4, "duration_s": 0.5, "note": ""}).encode() + b"\n"
    digests = f"{xxhash.xxh3_128_hexdigest(line)} {xxhash.xxh3_128_hexdigest(line + FRAMES.tobytes())}\n".encode()
    store.file_of(track).parent.mkdir(parents=True)
    store.file_of(track).write_bytes(b"mirex-features 3 " + digests + line + FRAMES.tobytes())
    monkeypatch.setattr(Workers, "joined", lambda self: pytest.fail("features are made again"))
    for verify in (False, True):
        assert extract([track], [store], Workers(1), verify=verify)[track].content == content_hash(track)
    np.testing.assert_array_equal(store.read(track)[1], FRAMES)


def test_a_field_that_a_later_version_adds_is_ignored(store, track):
    store.write(header_of(track), FRAMES)
    line = (
        json.dumps({**json.loads(store.file_of(track).read_bytes().split(b"\n")[1]), "colour": "red"}).encode() + b"\n"
    )
    start = f"mirex-features 3 {digest(line)} {digest(line, FRAMES.tobytes())}\n".encode()
    store.file_of(track).write_bytes(start + line + FRAMES.tobytes())
    assert store.read(track)[0] == header_of(track)


def forged(store, track, **changed):
    """Write a feature file with another header, and zeros up to the size in that header."""
    header = dataclasses.replace(header_of(track), **changed)
    line = json.dumps(dataclasses.asdict(header)).encode() + b"\n"
    start = b"mirex-features 3 %s %s\n%s" % (digest(line).encode(), b"0" * 32, line)
    file = store.file_of(track)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "wb") as f:
        f.write(start)
        f.truncate(len(start) + header.n_bytes)


@pytest.mark.parametrize("n_frames", [10**6, 10**9, 10**11])
def test_a_file_of_more_rows_than_6_hours_have_is_damaged_before_it_is_read(store, track, n_frames):
    forged(store, track, n_frames=n_frames)
    tracemalloc.start()
    assert store.fresh(track) is None and store.read(track) is None
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_file_of_another_size_than_its_header_says_is_not_read(store, track):
    store.write(header_of(track), FRAMES)
    for n_bytes in (1 << 40, 1000, 10):
        os.truncate(store.file_of(track), n_bytes)
        assert store.fresh(track) is None and store.read(track) is None
