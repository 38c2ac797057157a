"""Run commands in this process, or many commands in one new process."""

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Done:
    """The result of a command; from `call_all` also the loaded modules, and the files in the folder."""

    status: int
    stdout: str
    stderr: str
    modules: frozenset = frozenset()
    threads: str | None = None
    files: tuple = ()


def call(*args, cwd=None, **environment):
    """Run a command in this process and restore its state afterwards, except for loaded modules."""
    from mirex_submission.cli.main import main

    log = logging.getLogger("mirex_submission")
    log_before = log.handlers, log.propagate, log.level
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    stdout, stderr, folder = io.StringIO(), io.StringIO(), os.getcwd()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "200", **environment}),
        mock.patch("faulthandler.enable"),  # keeps that of pytest
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        threadpool_limits(
            1, "blas"
        ),  # as in a separate process: the BLAS threads decide the last bits of librosa's frames
    ):
        try:
            os.chdir(cwd or folder)
            status = main([str(arg) for arg in args])
        except SystemExit as end:  # argparse
            status = end.code or 0
        finally:
            os.chdir(folder)
            log.handlers, log.propagate, log.level = log_before
            for number, handler in handlers.items():
                signal.signal(number, handler)
        threads = os.environ.get("OMP_NUM_THREADS")
    assert "Traceback" not in stderr.getvalue()
    return Done(status, stdout.getvalue(), stderr.getvalue(), threads=threads)


def call_all(calls, cwd):
    """Run commands one after the other in one new process, and return their results."""
    calls = [[str(arg) for arg in args] for args in calls]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, str(Path(__file__).resolve())]
    done = subprocess.run(command, cwd=cwd, env=environment, input=json.dumps(calls), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    return [Done(**{**one, "modules": frozenset(one["modules"]), "files": tuple(one["files"])}) for one in results]


if __name__ == "__main__":
    sys.path.pop(0)  # this folder does not belong to the program
    results = []
    for args in json.load(sys.stdin):
        one = vars(call(*args))
        results.append({**one, "modules": sorted(sys.modules), "files": os.listdir()})
    json.dump(results, sys.stdout)
