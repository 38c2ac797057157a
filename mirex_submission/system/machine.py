"""What this machine lets this process have: processors, memory, room on a disk."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
from pathlib import Path, PurePosixPath

from mirex_submission.system.atomic import storage_error

ENOUGH_BYTES = 200_000_000  # for any of MIREX's calls without Keras
_UNLIMITED = 1 << 60  # bytes; cgroups of version 1 give about 2^63 for no limit


def size(n_bytes: float) -> str:
    """`n_bytes` as people say it: 980 MB, 1.4 GB."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 0.9995e9 else f"{n_bytes / 1e6:,.0f} MB"


def processors() -> int:
    """Those that this process may use, by affinity and by the quota of its cgroup."""
    import joblib

    return int(joblib.cpu_count())


def memory_room() -> dict[str, int]:
    """How much more memory this process may take, in bytes, by what bounds it; the least of them counts."""
    room = {}
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        if found:
            room["the machine"] = 1024 * int(found[1])
    of_cgroup = cgroup_room()
    if of_cgroup is not None:
        room["the cgroup's limit"] = of_cgroup
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        room["ulimit -v"] = max(0, limit - taken)
    return room


def cgroup_room(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """What the memory limits of this process' cgroup, and of those above it, leave; None where there is none.

    root, own : where the system has the cgroups, and which of them are this process'. In a container the path may be
        one of the host's, of which only the end, `root` itself, can be seen.
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
    """What one cgroup leaves; its file cache can be taken back. Empty where it has no limit."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is "max"
        most = int((folder / limit).read_text())
        cached = re.search(rf"^{cache} (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)
        if most < _UNLIMITED:
            return [max(0, most - int((folder / usage).read_text()) + (int(cached[1]) if cached else 0))]
    return []


def disk_room(folder: Path) -> tuple[int, int | None]:
    """Bytes and files that this user may still write below `folder`; None: any number of files.

    Raises StorageError where nothing can be written. Writes nothing that stays; of a folder that is not there yet, it
    is the nearest one above that counts.
    """
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there):
            disk = os.statvfs(there)
    except OSError as error:
        raise storage_error(error, folder) from error
    return disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None
