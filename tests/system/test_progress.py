"""Progress: plain lines in a log, one line that is overwritten on a terminal, durations in words."""

import logging
import os
import pty
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirex_submission.system import progress
from mirex_submission.system.progress import Progress, duration, printable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (172_800, "48 h 00 min"),
    ],
)
def test_a_duration_has_two_units(seconds, text):
    assert duration(seconds) == text


@given(st.floats(0, 1e7))
def test_a_duration_never_has_60_s_or_60_min_and_is_rounded_to_its_last_unit(seconds):
    text = duration(seconds)
    units = {"s": 1, "min": 60, "h": 3600}
    parts = [(int(number), unit) for number, unit in re.findall(r"(\d+) (s|min|h)", text)]
    assert all(number < 60 for number, unit in parts if unit != "h")
    assert abs(sum(number * units[unit] for number, unit in parts) - seconds) <= units[parts[-1][1]]


@pytest.fixture
def log_lines(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mirex_submission"), "propagate", True)
    caplog.set_level(logging.INFO, "mirex_submission")
    return lambda: caplog.messages


def test_a_line_has_task_count_unit_rate_time_left_and_note(log_lines, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    counted = Progress("extraction", 7000, unit="tracks")
    counted.advance(3499)
    counted.advance(note="2 failed")
    counted.close()
    number = r"[\d.e+,]+"
    first, second = log_lines()
    assert re.fullmatch(rf"extraction: 3,499 of 7,000 tracks, {number} a second, \d+ s left", first)
    assert re.fullmatch(rf"extraction: 3,500 of 7,000 tracks, {number} a second, \d+ s left, 2 failed", second)


def test_units_that_are_not_alike_have_the_time_so_far_and_no_time_left(log_lines, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    counted = Progress("crossval", 7, unit="steps", alike=False)
    counted.advance(0, note="fold1 train: epoch 3")
    counted.advance()
    first, second = log_lines()
    assert re.fullmatch(r"crossval: 0 of 7 steps, \d+ s so far, fold1 train: epoch 3", first)
    assert re.fullmatch(r"crossval: 1 of 7 steps, \d+ s so far", second)


def test_a_log_gets_a_line_at_intervals(log_lines):
    counted = Progress("extraction", 1000, unit="tracks")
    for _ in range(1000):
        counted.advance()
    counted.close()
    assert counted.done == 1000
    assert log_lines() == []


def test_without_a_terminal_nothing_but_the_log_is_written(capfd, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    counted = Progress("nothing", 0, unit="tracks")
    counted.close()
    counted = Progress("something", 1, unit="tracks")
    counted.advance()
    counted.close()
    assert capfd.readouterr() == ("", "")


ON_TERMINAL = """
import logging, sys
from mirex_submission.system import progress
logging.basicConfig(stream=sys.stderr, level=sys.argv[1], format="%(message)s")
progress.TERMINAL_INTERVAL_S = 0.0
counted = progress.Progress("training", 3, unit="epochs")
for _ in range(3):
    counted.advance(note="loss 0.5")
counted.close()
"""


def on_terminal(level):
    """What a terminal gets."""
    terminal, child_end = pty.openpty()
    with os.fdopen(terminal, "rb") as f:
        done = subprocess.run([sys.executable, "-c", ON_TERMINAL, level], stderr=child_end, stdout=subprocess.PIPE)
        os.write(child_end, b"END")
        os.close(child_end)
        got = b""
        while not got.endswith(b"END"):
            got += f.read1(4096)
    assert (done.returncode, done.stdout) == (0, b"")
    return got.decode().removesuffix("END")


def test_on_a_terminal_one_line_is_overwritten_and_cleared_at_the_end():
    got = on_terminal("INFO")
    assert "\n" not in got
    assert [re.match(r"training: (\d) of 3 epochs, .* left, loss 0.5", line)[1] for line in got.split("\r")[1:-1]] == [
        "1",
        "2",
        "3",
    ]
    assert got.endswith("\r\x1b[K")


def test_on_a_terminal_quiet_prints_nothing():
    assert on_terminal("WARNING") == ""


def test_printable_keeps_printable_characters():
    assert printable("Grüße aus 東京, 100 %.mp3") == "Grüße aus 東京, 100 %.mp3"
    assert printable("\x1b[2J\r\u202e") == r"\x1b[2J\r\u202e"
