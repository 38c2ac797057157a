"""Fixtures: lists of three folds, submissions of shell scripts, and runs of crossval."""

from pathlib import Path

import pytest
from shell_systems import GOOD, NOTE, TRACKS, write_lists

from mirex_submission.cli.main import main


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """A function that runs crossval in the test's folder and returns its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        try:
            status = main(("crossval", "lists", "--scratch", "scratch", "--out", "out", *args))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def lists(tmp_path):
    """Lists of three folds over TRACKS."""
    folder = tmp_path / "lists"
    write_lists(folder, [(track, Path(track).name.partition("_")[0]) for track in TRACKS])
    return folder


@pytest.fixture
def submission(tmp_path):
    """A function that writes a submission of some scripts and returns its folder."""

    def write(name="good", **scripts):
        folder = tmp_path / name / "commands"
        folder.mkdir(parents=True, exist_ok=True)
        for script, text in (scripts or {k.removesuffix(".sh"): v for k, v in GOOD.items()}).items():
            path = folder / f"{script}.sh"
            path.write_text(f"#!/bin/sh\nset -e\n{NOTE}{text}")
            path.chmod(0o755)
        return folder

    return write
