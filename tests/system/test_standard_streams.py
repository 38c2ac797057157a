"""Processes without standard streams."""

import subprocess
import sys

import pytest

CODE = """
import os, sys
from mirex_submission.system.standard_streams import never_none
with never_none():
    print("a"), print("b", file=sys.stderr)
    os.write(2, b"c")
assert os.fstat(0) and os.fstat(1) and os.fstat(2)
open("done", "w").write(repr([sys.stdout is None, sys.stderr is None]))
"""


@pytest.mark.parametrize(
    ("closing", "missing"), [("", [False, False]), ("2>&-", [False, True]), ("0>&- 1>&- 2>&-", [True, True])]
)
def test_python_and_libraries_can_write_and_the_streams_are_restored(tmp_path, closing, missing):
    run = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {closing}', sys.executable, CODE], cwd=tmp_path, capture_output=True
    )
    assert run.returncode == 0
    assert (tmp_path / "done").read_text() == repr(missing)


def test_predictions_for_a_closed_standard_output_are_an_error(tmp_path, corpus):
    command = '"$0" -m mirex_submission classify "$1" "$2" - >&-'
    run = subprocess.run(
        ["bash", "-c", command, sys.executable, tmp_path, corpus["test"]], capture_output=True, text=True
    )
    assert run.returncode == 2 and "standard output is closed" in run.stderr and "[usage.output]" in run.stderr


@pytest.mark.parametrize(
    "closing", [*(pytest.param(x, marks=pytest.mark.slow) for x in ("2>&-", "1>&- 2>&-")), "0>&- 1>&- 2>&-"]
)
def test_a_training_from_python_needs_no_standard_streams(tmp_path, corpus, closing):
    code = (
        "from mirex_submission import train\n"
        f"train('s', {str(corpus['train'])!r}, epochs=1, segments_per_track=2, threads=1, no_picture=True)\n"
        "open('done', 'w')"
    )
    subprocess.run(["bash", "-c", f'"$0" -c "$1" {closing}', sys.executable, code], cwd=tmp_path)
    assert (tmp_path / "done").exists()
