"""Resources that this process may use: processors, memory, space on a disk."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
from pathlib import Path, PurePosixPath

from mirex_submission.system.atomic import storage_error

ENOUGH_BYTES = 200_000_000  # of memory, for every MIREX command without Keras
_UNLIMITED = 1 << 60  # bytes; in cgroups of version 1, no limit is about 2^63


def size(n_bytes: float) -> str:
    """Format a number of bytes, such as 980 MB or 1.4 GB."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 0.9995e9 else f"{n_bytes / 1e6:,.0f} MB"


def processors() -> int:
    """Return the number of processors that affinity and the quota of the cgroup leave to this process."""
    import joblib

    return int(joblib.cpu_count())


def memory_room() -> dict[str, int]:
    """Return how much more memory this process may take.

    Returns
    -------
    dict of str to int
        Bytes that each limit leaves; the smallest one counts. Keys are "the machine", "the cgroup's limit" and
        "ulimit -v".
    """
    room = {}
    with contextlib.suppress(OSError):
        available = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        if available:
            room["the machine"] = 1024 * int(available[1])
    cgroup = cgroup_room()
    if cgroup is not None:
        room["the cgroup's limit"] = cgroup
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        room["ulimit -v"] = max(0, limit - taken)
    return room


def cgroup_room(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the bytes that the memory limits of this process' cgroup and of its parents leave; None without a limit.

    Parameters
    ----------
    root : Path
        Folder of the cgroups.
    own : Path
        File with the cgroups of this process. In a container it may name a path of the host, of which only `root` is
        visible.
    """
    room: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                folder, names, cache = root, ("memory.max", "memory.current"), "inactive_file"
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
                folder, cache = root / "memory", "total_inactive_file"
            else:
                continue
            for above in (PurePosixPath(path), *PurePosixPath(path).parents):
                room += _room_in(folder / str(above).lstrip("/"), *names, cache)
    return min(room, default=None)


def _room_in(folder: Path, limit: str, usage: str, cache: str) -> list[int]:
    """Return the bytes that one cgroup leaves, with its file cache, which can be freed; empty without a limit."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is "max"
        limit_bytes = int((folder / limit).read_text())
        cached = re.search(rf"^{cache} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
        if limit_bytes < _UNLIMITED:
            return [max(0, limit_bytes - int((folder / usage).read_text()) + (int(cached[1]) if cached else 0))]
    return []


def disk_room(folder: Path) -> tuple[int, int | None]:
    """Return the space that is left to this user on the disk of a folder; nothing stays written.

    Parameters
    ----------
    folder : Path
        The folder; if it does not exist yet, its nearest parent counts.

    Returns
    -------
    n_bytes : int
        Free space.
    n_files : int or None
        Number of files that can still be made; None without a limit.

    Raises
    ------
    StorageError
        The folder is not writable.
    """
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=existing):
            disk = os.statvfs(existing)
    except OSError as error:
        raise storage_error(error, folder) from error
    return disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None
