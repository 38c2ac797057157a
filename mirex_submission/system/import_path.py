"""Protection from imports of the current folder, in this process and its worker processes.

A folder of audio may have a `random.py` of its user, or a `joblib/` of another user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PACKAGES = str(Path(__file__).resolve().parents[2])
# Python 3.10 has no PYTHONSAFEPATH, so this code does the same; sys is built in, so no file can replace it.
_SAFE = "import sys; del sys.path[0]; "
_RUN_MODULE = f"{_SAFE}import runpy; del sys.argv[0]; runpy.run_module(sys.argv[0], None, '__main__', True)"


def leave_out_current_folder() -> None:
    """Keep this process, and every Python that it starts, from importing modules of the current folder.

    The folder stays on the path if $PYTHONPATH names it, or if this package is in it. An empty entry of $PYTHONPATH, as
    in `PYTHONPATH=$PYTHONPATH:/more`, is ignored.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    named = list(filter(None, entries))
    if named != entries and "PYTHONPATH" in os.environ:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.version_info < (3, 11):
        _make_starts_safe()
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the folder is gone
        return
    # Python puts the folder of the program first, and then the entries of $PYTHONPATH.
    n_first = 0 if here in map(os.path.realpath, (*named, _PACKAGES)) else 1 + len(entries)
    sys.path[:] = [
        path for k, path in enumerate(sys.path) if path and not (k < n_first and os.path.realpath(path) == here)
    ]


def _make_starts_safe() -> None:
    """Make the processes that multiprocessing and loky start ignore the current folder, in Python 3.10."""
    import _posixsubprocess

    start = _posixsubprocess.fork_exec
    if start.__module__ != __name__:
        _posixsubprocess.fork_exec = _safe_start(start)


def _safe_start(start: Callable[..., int]) -> Callable[..., int]:
    def fork_exec(command: Any, *args: Any) -> int:
        command = [os.fsdecode(arg) for arg in command]
        if command[0] == sys.executable:
            if "joblib.externals.loky.backend.popen_loky_posix" in command[2:3]:
                command[1:2] = ["-c", _RUN_MODULE]
            elif "resource_tracker import main" in command[-1]:
                command[-1] = _SAFE + command[-1]
        return start(list(map(os.fsencode, command)), *args)

    return fork_exec
