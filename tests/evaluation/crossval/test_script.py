"""Reasons why a script of a submission cannot run, found before the first step and after it."""

import math
import os
import re
import subprocess
import threading

import pytest

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.crossval.script import check_interpreter
from mirex_submission.evaluation.crossval.step import Step


@pytest.fixture
def script(tmp_path):
    def write(content):
        path = tmp_path / "train.sh"
        path.write_bytes(content)
        path.chmod(0o755)
        return path

    return write


@pytest.mark.parametrize("line", ["#!/bin/bash", "#! /bin/sh", "#!/usr/bin/env bash", "#!/usr/bin/python3", "#!sh"])
def test_a_script_with_windows_line_ends_is_refused_with_any_interpreter(script, line):
    path = script(f"{line}\r\necho\r\n".encode())
    with pytest.raises(UsageError, match=r"it has Windows line ends: run `sed .*\[crossval\.windows-lines\]") as error:
        check_interpreter(path)
    subprocess.run(re.search(r"`(sed.*)`", str(error.value))[1], shell=True, check=True)
    assert b"\r" not in path.read_bytes()


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("#!/opt/none/python3", "'/opt/none/python3' .*install"),
        ("#!/usr/bin/env no-such-python", "'no-such-python' .*install"),
        ("#!/usr/bin/env sh -e", "#!/usr/bin/env -S sh -e"),
        ("#!/etc/passwd", "is not executable"),
        ("#!/usr", "is not executable"),
        ("#!/opt/none/bash -e", "'/opt/none/bash' "),
    ],
)
def test_a_missing_interpreter_is_refused_with_advice(script, line, advice):
    with pytest.raises(UsageError, match=rf"{advice}.*\[crossval\.no-interpreter\]"):
        check_interpreter(script(f"{line}\n".encode()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"echo no interpreter line\n",
        b"#!/bin/sh\n",
        b"#!/bin/sh",
        b"#!/bin/sh -e  \n",
        b"#!/usr/bin/env sh\n",
        b"#!/usr/bin/env -S sh -e\r\n",
        b"#!/usr/bin/env -i sh\n",
        b"#!/usr/bin/env A=b sh\n",
        b"#!\n",
        b"\x7fELF\r\n\0\xff",
    ],
)
def test_scripts_that_can_run_are_not_refused(script, content):
    check_interpreter(script(content))


def run(path, tmp_path):
    step = Step("train", [str(path)], [], "", [tmp_path / "out"], None, tmp_path / "log", tmp_path / "record")
    return step.run(environment=os.environ, limit_s=math.inf, stop=threading.Event()).problem


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"#!/bin/sh -e\r\nexit 0\r\n", "it has Windows line ends"),
        (b"#!/bin/sh\nexit 3\r\n", "it has Windows line ends"),
        (b"cd /\r\n", "it has Windows line ends"),
        (b'#!/bin/sh\nmkdir -p "$0.d"\r\n', "it has Windows line ends"),
        (b"\xef\xbb\xbf#!/bin/bash\nexit 4\n", "byte order mark"),
        (b"#!/bin/sh\nno-such-program\n", "a program that it calls, or the interpreter of one, does not exist"),
        (b"#!/bin/sh\n/etc/passwd\n", "a program that it calls is not executable"),
        (
            b'#!/bin/sh\nprintf \'#!/bin/no-python\\r\\n\' > "$0.py"; chmod +x "$0.py"\n"$0.py"\n',
            "does not exist",
        ),
        (
            b'#!/bin/bash\nprintf \'#!/bin/sh\\r\\n\' > "$0.py"; chmod +x "$0.py"\n"$0.py"\n',
            "remove \\r from the ends of its lines",
        ),
    ],
)
def test_a_failed_step_names_a_cause_that_its_script_shows(script, tmp_path, content, cause):
    assert cause in run(script(content), tmp_path)


@pytest.mark.parametrize("content", [b"#!/bin/sh\nexit 3\n", b"#!/usr/bin/env -S python3\r\nraise SystemExit(1)\r\n"])
def test_a_failed_step_names_no_cause_that_its_script_does_not_show(script, tmp_path, content):
    assert re.match(r"status \d; last line of its log ", run(script(content), tmp_path))
