"""How a run ends: standard streams, log, signals, and the exit status.

0 done; 1 an error in this program; 2 usage; 3 a list; 4 audio; 5 a model or a training; 6 the device; 7 the disk; 8 a
submission in a cross-validation; 9 too little memory, or another limit of the system; 130 interrupted; 141 broken pipe;
143 terminated.
"""

from __future__ import annotations

import errno
import faulthandler
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

from mirex_submission.errors import InstallationError, MirexError, ResourceError, StorageError, UsageError, coded
from mirex_submission.system.installation import install_command
from mirex_submission.system.progress import printable
from mirex_submission.system.standard_streams import open_descriptors

log = logging.getLogger("mirex_submission")

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Shortage(NamedTuple):
    """A limit of the system, which is recognised by the words of an error, as no exception type stands for it."""

    words: str
    text: str
    code: str


_OUT_OF_MEMORY = _Shortage("cannot allocate memory", "out of memory", code="limits.memory")
_SHORTAGES = (
    _OUT_OF_MEMORY,
    _Shortage("failed to map segment", "out of memory", code="limits.memory"),
    _Shortage("can't start new thread", "too many processes or threads", code="limits.threads"),
    _Shortage("too many open files", "too many open files", code="limits.files"),
)


def open_standard_streams() -> None:
    """Open the standard streams that are closed."""
    open_descriptors()
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    # An encoding such as ASCII cannot print every path: escape the other characters, as the log does.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def start_log(verbose: int, quiet: int) -> None:
    """Start the log on stderr; `verbose` and `quiet` raise and lower its level by one step each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(datefmt="%Y-%m-%d %H:%M:%S"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(min(logging.ERROR, logging.INFO + 10 * (quiet - verbose)))


class _LineFormatter(logging.Formatter):
    """Formatter of time and message in printable characters; only warnings and errors name their level."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, self.datefmt)} {level}{printable(record.getMessage())}"


def status_of(run: Callable[[], None]) -> int:
    """Run a command; log its error and return the exit status."""
    faulthandler.enable(2)  # shows where C code crashes
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup sets SIG_IGN
            signal.signal(number, _stop)
    try:
        # bin/mirex-submission.sh blocks SIGINT; the image blocks both signals, as process 1 must handle them itself.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        run()
        return 0
    except MirexError as error:
        # Too little memory or too few open files may cause these errors: then the disk and the installation are fine.
        may_be_short = isinstance(error, (StorageError, InstallationError))
        shortage = _shortage(error.__cause__) if may_be_short else None
        if shortage:
            return _report_shortage(shortage)
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_status
    except ModuleNotFoundError as error:
        text = f"the Python package {error.name!r} is missing: install this project with `{install_command()}`"
        log.error("%s", coded(text, code="usage.package"))
        return UsageError.exit_status
    except BrokenPipeError:  # a reader such as `head` has closed the pipe
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as error:
        stop = _stop_behind(error)
        if stop:
            return _report_stop(stop)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"standard output cannot be written: {error.strerror}: free some space and repeat the command"
            log.error("%s", coded(text, code="disk.stdout"))
            _drop_stdout()
            return StorageError.exit_status
        if isinstance(error, FileNotFoundError) and error.filename is None and not _current_folder_exists():
            text = "the current folder was removed: change to an existing one, or give absolute paths"
            log.error("%s", coded(text, code="usage.current-folder"))
            return UsageError.exit_status
        shortage = _shortage(error)
        if not shortage:
            raise
        return _report_shortage(shortage)
    except (KeyboardInterrupt, Terminated) as stop:
        return _report_stop(stop)


def _stop_behind(error: BaseException | None) -> BaseException | None:
    """Return the signal during whose clean-up this error was raised: joblib's fails while its pool starts; or None."""
    while error and not isinstance(error, (KeyboardInterrupt, Terminated)):
        error = error.__context__
    return error


def _report_stop(stop: BaseException) -> int:
    for number in _STOPS:  # a second signal would end in a traceback
        signal.signal(number, signal.SIG_IGN)
    terminated = isinstance(stop, Terminated)
    reason = "terminated" if terminated else "interrupted"
    log.error("%s: finished work is kept; repeat the command to resume", reason)
    return TERMINATED if terminated else INTERRUPTED


def _current_folder_exists() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _drop_stdout() -> None:
    """Discard the buffered standard output: writing it at exit would print a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _report_shortage(shortage: _Shortage) -> int:
    advice = (
        "raise the limit (see `ulimit -a`, or the container's limits) or give a smaller -numThreads; "
        "finished work is kept"
    )
    log.error("%s", coded(f"{shortage.text}: a limit of the system is reached: {advice}", code=shortage.code))
    return ResourceError.exit_status


def _shortage(error: BaseException | None) -> _Shortage | None:
    """Return the limit that an error or one of its causes names, or None."""
    while error:
        if isinstance(error, MemoryError):
            return _OUT_OF_MEMORY
        message = str(error).lower()
        for shortage in _SHORTAGES:
            if shortage.words in message:
                return shortage
        error = error.__cause__ or error.__context__
    return None


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. Like KeyboardInterrupt, it is not caught by `except Exception`."""


def _stop(signum: int, frame: object) -> None:
    threading.excepthook = lambda args: None  # loky's thread may fail when its tasks are gone
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated
