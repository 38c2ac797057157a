"""Resources of a process: real limits where a test may set them, and cgroups in files like those of the kernel."""

import os
import subprocess
import sys

import pytest

from mirex_submission.errors import StorageError
from mirex_submission.system import machine

MB = 1_000_000


def write_cgroup(folder, *, limit, usage, cache, version):
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    for name, value in zip(names, (limit, usage), strict=True):
        (folder / name).write_text(f"{value}\n")
    key = "inactive_file" if version == 2 else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 1\n{key} {cache}\nfile 3\n")


@pytest.mark.parametrize(
    ("version", "own", "base"),
    [(2, "0::/a/b\n", ""), (1, "5:devices:/\n4:memory,x:/a/b\n0::/\n", "memory/")],
    ids=["v2", "v1"],
)
def test_the_smallest_limit_of_a_cgroup_and_its_parents_counts_with_the_file_cache(tmp_path, version, own, base):
    (tmp_path / "own").write_text(own)
    root = tmp_path / "cgroup"
    unlimited = "max" if version == 2 else 9223372036854771712
    write_cgroup(root / f"{base}a/b", limit=unlimited, usage=5 * MB, cache=0, version=version)
    assert machine.cgroup_room(root, tmp_path / "own") is None
    write_cgroup(root / f"{base}a", limit=100 * MB, usage=70 * MB, cache=20 * MB, version=version)
    assert machine.cgroup_room(root, tmp_path / "own") == 50 * MB
    # As in a container, where the path is the host's: only the root can be seen.
    write_cgroup(root / base, limit=40 * MB, usage=10 * MB, cache=0, version=version)
    assert machine.cgroup_room(root, tmp_path / "own") == 30 * MB


def test_a_system_without_cgroups_has_no_such_limit(tmp_path):
    assert machine.cgroup_room(tmp_path / "none", tmp_path / "none either") is None


def test_the_limit_of_the_address_space_counts():
    code = "from mirex_submission.system import machine; print(machine.memory_room()['ulimit -v'])"
    command = f'ulimit -v 2000000; exec "{sys.executable}" -c "{code}"'
    left = int(subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout)
    assert 1000 * MB < left < 2_000_000 * 1024
    assert "ulimit -v" not in machine.memory_room() and machine.memory_room()["the machine"] > 0


def test_disk_room_leaves_no_file(tmp_path):
    free, n_files = machine.disk_room(tmp_path / "not" / "there" / "yet")
    assert free > 0 and (n_files is None or n_files > 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["file", "file/below", "link/below"])
def test_an_impossible_folder_is_a_storage_error(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=f"^{tmp_path}/{name}: ") as caught:
        machine.disk_room(tmp_path / name)
    assert caught.value.code in ("disk.in-the-way", "disk.gone")


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 MB"), (1.4e8, "140 MB"), (999_600_000, "1.0 GB"), (12e12, "12,000.0 GB")]
)
def test_sizes_are_in_mb_or_gb(n, text):
    assert machine.size(n) == text
