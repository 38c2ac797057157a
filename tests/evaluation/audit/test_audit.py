"""The command audit: its files, output and exit statuses."""

import json

import pytest
import soundfile
from audit_corpus import RATE_HZ, clip, write_folds, write_mp3
from command_line import call

from mirex_submission.errors import ListError
from mirex_submission.evaluation.audit.records import read_audit

LABELS = "rock", "jazz"


def write_task(folder, *, n=12):
    """Write two folds of clips; each fold tests every second clip."""
    tested = {"fold1": {}, "fold2": {}}
    for k in range(n):
        path = folder / f"{k * 7919 % 1009:04d}.wav"
        soundfile.write(path, clip([3, k], 5.0), RATE_HZ, "PCM_16")
        tested[f"fold{k % 2 + 1}"][path] = LABELS[k // 2 % 2]
    return tested


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Lists with one copy across folds, an artist across folds and a missing file."""
    folder = tmp_path_factory.mktemp("planted")
    tested = write_task(folder)
    first = next(iter(tested["fold1"]))
    write_mp3(folder / "copy.mp3", soundfile.read(first)[0][2 * RATE_HZ :])
    tested["fold2"] |= {folder / "copy.mp3": tested["fold1"][first], folder / "missing.wav": "jazz"}
    lists = write_folds(folder / "lists", tested)
    others = [*tested["fold1"]][1], [*tested["fold2"]][1]
    (lists / "groups.txt").write_text("".join(f"{path}\tThe Band\n" for path in others))
    return lists, (first, folder / "copy.mp3"), others


def test_planted_problems_are_found_by_the_command(planted, run_script, tmp_path):
    lists, copies, of_artist = planted
    done = run_script("mirex-submission.sh", "audit", lists, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert {"problems", "shortcuts", "folds", "n_tracks"} <= audit.keys()
    problems = {problem["code"]: problem for problem in audit["problems"]}
    assert all({"code", "severity", "message", "paths"} <= problem.keys() for problem in audit["problems"])
    assert sorted(problems["audit.near-copy"]["paths"]) == sorted(map(str, copies))
    assert problems["audit.near-copy"]["severity"] == "warning"
    assert problems["audit.split-group"]["paths"] == sorted(map(str, of_artist))
    assert problems["audit.unreadable"]["severity"] == "note" and audit["n_unreadable"] == 1
    assert "warning: 1 x audit.near-copy" in done.stdout and "missing.wav" in done.stdout
    assert read_audit(tmp_path / "audit.json").n_tracks == 14
    assert [path.name for path in tmp_path.iterdir()] == ["audit.json"]

    strict = call("audit", lists, "--out", tmp_path / "strict", "--strict")
    assert strict.status == 3 and "[audit.strict]" in strict.stderr
    of_strict = json.loads((tmp_path / "strict" / "audit.json").read_text())
    assert of_strict["problems"] == audit["problems"]


def test_a_clean_task_has_no_problems(tmp_path):
    lists = write_folds(tmp_path / "lists", write_task(tmp_path))
    done = call("audit", lists, "--out", tmp_path / "out", "--strict")
    assert done.status == 0, done.stderr
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["problems"] == []


def test_wrong_lists_are_status_3_with_their_lines(planted, tmp_path):
    lists, *_ = planted
    (tmp_path / "train.txt").write_text("/none/a.wav\n")
    done = call("audit", tmp_path / "train.txt", lists / "fold1.truth.txt", "--out", tmp_path / "out")
    assert done.status == 3 and f"{tmp_path}/train.txt:1: " in done.stderr and "[list.no-tab]" in done.stderr
    assert call("audit", tmp_path / "none", "--out", tmp_path / "out").status == 3
    assert call("audit", lists, lists, lists, "--out", tmp_path / "out").status == 2


@pytest.mark.parametrize(
    ("text", "code"), [(None, "audit.missing"), ("{", "audit.invalid"), ('{"problems": 3}', "audit.invalid")]
)
def test_an_invalid_audit_file_is_refused(tmp_path, text, code):
    if text:
        (tmp_path / "audit.json").write_text(text)
    with pytest.raises(ListError, match=code):
        read_audit(tmp_path / "audit.json")


def test_an_audit_without_readable_audio_gives_a_warning(tmp_path):
    tested = {fold: {tmp_path / f"{fold}{k}.wav": LABELS[k % 2] for k in range(4)} for fold in ("fold1", "fold2")}
    lists = write_folds(tmp_path / "lists", tested)
    done = call("audit", lists, "--out", tmp_path, "--strict")
    assert done.status == ListError.exit_status and "[audit.strict]" in done.stderr
    assert "audit.too-many-unreadable" in {problem.code for problem in read_audit(tmp_path / "audit.json").problems}
