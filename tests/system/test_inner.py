"""Inside a scratch folder nothing of other users is followed, waited for, or read beyond what it can be."""

import errno
import os
import stat
import threading

import pytest
from intruders import put

from mirex_submission.errors import StorageError
from mirex_submission.system.atomic import seal
from mirex_submission.system.inner import inner_folder, open_inner, read_inner, read_sealed


def test_a_folder_below_need_not_exist_and_a_link_above_may_lead_anywhere(tmp_path):
    (tmp_path / "scratch" / "models").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    for root in (tmp_path / "scratch", tmp_path / "link", tmp_path / "nowhere"):
        assert inner_folder(root, "models", "fold1") == root / "models" / "fold1"
    assert os.listdir(tmp_path / "scratch" / "models") == []


@pytest.mark.parametrize("at", [("models",), ("models", "fold1"), ("models", "fold1", "below")])
@pytest.mark.parametrize("target", ["elsewhere", "scratch/inside", "nothing", "file"])
def test_a_link_in_place_of_a_folder_is_refused_at_every_depth(tmp_path, at, target):
    for folder in ("elsewhere", "scratch/inside"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").touch()
    link = tmp_path.joinpath("scratch", *at)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / target)
    with pytest.raises(StorageError, match=rf"^{link}: .*remove it \[disk\.link\]$"):
        inner_folder(tmp_path / "scratch", "models", "fold1", "below")


ME, OWNER, STRANGER = 1000, 1001, 1002


@pytest.mark.parametrize(
    ("owner", "mode", "same_group", "accepted"),
    [
        (ME, 0o755, False, True),
        (OWNER, 0o755, False, True),
        (0, 0o755, False, True),
        (STRANGER, 0o755, True, False),
        (STRANGER, 0o777, True, False),
        (STRANGER, 0o1777, True, False),
        (STRANGER, 0o2775, True, True),
        (STRANGER, 0o2775, False, False),
    ],
)
def test_a_folder_of_another_user_is_refused_unless_a_group_shares_on_purpose(
    tmp_path, monkeypatch, owner, mode, same_group, accepted
):
    """`mode` is that of the scratch folder."""
    (tmp_path / "model").mkdir()
    status = os.lstat

    def changed(path, uid, gid):
        fields = list(status(path))
        fields[stat.ST_UID], fields[stat.ST_GID] = uid, gid
        if path == tmp_path:
            fields[stat.ST_MODE] = stat.S_IFDIR | mode
        return os.stat_result(fields)

    monkeypatch.setattr(os, "lstat", lambda path: changed(path, owner, 50 if same_group else 51))
    monkeypatch.setattr(os, "stat", lambda path: changed(path, OWNER, 50))
    monkeypatch.setattr(os, "geteuid", lambda: ME)
    if accepted:
        inner_folder(tmp_path, "model")
    else:
        with pytest.raises(StorageError, match=rf"uid {STRANGER}.*\[disk\.other-user\]"):
            inner_folder(tmp_path, "model")


OTHERS = {
    "link": errno.ELOOP, "loop": errno.ELOOP, "zeros": errno.ELOOP, "pipe": errno.ENXIO, "socket": errno.ENXIO,
    "folder": errno.EISDIR,
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path, kind):
    (tmp_path / "target").write_bytes(b"secret")
    put(kind, tmp_path / "file", "target")
    n_descriptors = len(os.listdir("/proc/self/fd"))
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_APPEND):
        with pytest.raises(OSError, match="file") as caught:
            open_inner(tmp_path / "file", flags)
        assert caught.value.errno == OTHERS[kind]
    assert len(os.listdir("/proc/self/fd")) == n_descriptors
    assert (tmp_path / "target").read_bytes() == b"secret"


def test_a_pipe_with_a_writer_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: open(tmp_path / "pipe", "wb").close(), daemon=True)
    writer.start()
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        read_inner(tmp_path / "pipe", most_bytes=10)
    os.close(os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000])
def test_a_file_is_read_whole(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert read_inner(tmp_path / "file", most_bytes=len(data)) == data
    (tmp_path / "sealed").write_bytes(seal(data))
    assert read_sealed(tmp_path / "sealed", most_bytes=1_000_000) == data


def sparse(path, n_bytes, start=b""):
    with open(path, "wb") as f:
        f.write(start)
        f.truncate(n_bytes)


def test_a_file_larger_than_the_limit_is_not_read(tmp_path):
    sparse(tmp_path / "file", 1 << 40, seal(b""))
    for read in (read_inner, read_sealed):
        with pytest.raises(OSError, match="more than it can have") as caught:
            read(tmp_path / "file", most_bytes=1 << 30)
        assert caught.value.errno == errno.EFBIG and str(tmp_path / "file") in str(caught.value)


def test_only_the_beginning_of_a_file_with_a_wrong_beginning_is_read(tmp_path):
    sparse(tmp_path / "file", 1 << 40)
    assert len(read_inner(tmp_path / "file", most_bytes=1 << 41, starts=b"PK")) < 1 << 20
    assert read_sealed(tmp_path / "file", most_bytes=1 << 41) is None


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"0" * 31 + b"\n", b"x" * 32 + b"\n", seal(b"body")[:-1], seal(b"x") + b"y"]
)
def test_a_file_without_a_seal_is_damaged(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    assert read_sealed(tmp_path / "file", most_bytes=1000) is None
