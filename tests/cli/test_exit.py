"""The exit status of a run that a signal ends."""

import subprocess
import sys

import pytest

CODE = """
import os, sys, time
from mirex_submission.cli.exit import start_log, status_of

def run():
    try:
        os.kill(os.getpid(), {number})
        time.sleep(60)
    finally:
        raise RuntimeError("as of a pool that has not started yet")

start_log(0, 0)
sys.exit(status_of(run))
"""


@pytest.mark.parametrize(
    ("number", "status", "word"), [(2, 130, "interrupted"), (15, 143, "terminated"), (1, 143, "terminated")]
)
def test_a_signal_is_the_reason_of_the_end_though_the_clean_up_fails(number, status, word):
    done = subprocess.run([sys.executable, "-c", CODE.format(number=number)], capture_output=True, text=True)
    assert done.returncode == status
    assert f"{word}: finished work is kept" in done.stderr and "Traceback" not in done.stderr
