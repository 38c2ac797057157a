"""A run as its caller sees it: standard streams, log, signals, and the exit status of every way to end.

0 done; 1 a fault of this program; 2 usage; 3 a list is wrong; 4 audio; 5 model; 6 device; 7 disk; 8 a submission that
was judged; 9 memory or another limit of the system; 130 interrupted; 141 nobody reads what is printed; 143 terminated.
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

from mirex_submission.errors import MirexError, ResourceError, StorageError, UsageError
from mirex_submission.system.installation import install_command

log = logging.getLogger("mirex_submission")

INTERRUPTED, TERMINATED, BROKEN_PIPE = (128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# In the words of C libraries, of the loader of libraries and of Python: no type of exception says it.
_SHORTAGES = ("cannot allocate memory", "failed to map segment", "can't start new thread", "too many open files")


def open_standard_streams() -> None:
    """Give a process that was started with closed streams empty ones: else its first file would become its stderr."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    # Where PYTHONIOENCODING or the locale leaves letters out, a path is printed with escapes for them, as in the log.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def start_log(verbose: int, quiet: int) -> None:
    """Say what is logged on stderr: with what happens, or less, or more."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter(datefmt="%Y-%m-%d %H:%M:%S"))
    log.handlers = [handler]
    log.propagate = False
    log.setLevel(min(logging.ERROR, logging.INFO + 10 * (quiet - verbose)))


class _LineFormatter(logging.Formatter):
    """Time, then what is said; only warnings and errors name their level."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, self.datefmt)} {level}{record.getMessage()}"


def status_of(run: Callable[[], None]) -> int:
    """Run; what goes wrong is said in the log, and is the exit status."""
    faulthandler.enable(2)  # should C code crash, the log is to say where
    for number in _STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _stop)
    try:
        # bin/mirex-submission.sh has let SIGINT wait; the image both, for process 1 never gets what it does not handle.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        run()
        return 0
    except MirexError as error:
        # A file that could not be made or mapped for want of memory or of open files is no fault of the disk.
        shortage = _shortage(error.__cause__) if isinstance(error, StorageError) else None
        if shortage:
            return _too_little(shortage)
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_status
    except ModuleNotFoundError as error:
        log.error("the Python package %r is missing: install this project with `%s`", error.name, install_command())
        return UsageError.exit_status
    except BrokenPipeError:  # who read what is printed has gone, as `head` does
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):  # of standard output
            log.error("what is printed cannot be written: %s: free some space and run the same command again", error)
            _drop_stdout()
            return StorageError.exit_status
        if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
            log.error("the folder that this was called from is gone: change to one that is there, or give full paths")
            return UsageError.exit_status
        shortage = _shortage(error)
        if not shortage:
            raise
        return _too_little(shortage)
    except (KeyboardInterrupt, Terminated) as stop:
        for number in _STOPS:  # a second one would end in a traceback
            signal.signal(number, signal.SIG_IGN)
        said, status = ("terminated", TERMINATED) if isinstance(stop, Terminated) else ("interrupted", INTERRUPTED)
        log.error("%s: finished work (features, the last state of a training) is kept; the same command goes on", said)
        return status


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _drop_stdout() -> None:
    """What is still to be printed goes nowhere, else the interpreter's end would say it in a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _too_little(shortage: BaseException) -> int:
    log.error(
        "%s: the system grants this process too little: raise its limits (`ulimit -a`, the container's), or give a "
        "smaller -numThreads; finished work is kept", str(shortage) or "no memory",
    )  # fmt: skip
    return ResourceError.exit_status


def _shortage(error: BaseException | None) -> BaseException | None:
    """What in a chain of errors says that the system grants too little, if anything."""
    while error and not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in _SHORTAGES):
        error = error.__cause__ or error.__context__
    return error


class Terminated(BaseException):
    """SIGTERM or SIGHUP came. Like KeyboardInterrupt no Exception, so that nothing on the way takes it for a fault."""


def _stop(signum: int, frame: object) -> None:
    threading.excepthook = lambda args: None  # loky's thread may find the work gone that it was about to hand out
    raise KeyboardInterrupt if signum == signal.SIGINT else Terminated
