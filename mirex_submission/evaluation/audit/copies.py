"""Find copies: tracks with the same bytes, and the same recording with another codec, cut, level or rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mirex_submission.errors import examples
from mirex_submission.evaluation.audit.fingerprints import HOP_S, SAME, correlation, fingerprint
from mirex_submission.evaluation.audit.index import Index
from mirex_submission.evaluation.audit.records import Problem, Severity
from mirex_submission.evaluation.audit.task import AuditTask
from mirex_submission.features.copies import contents_of_copies
from mirex_submission.features.scan import scan
from mirex_submission.protocol.outputs import class_key
from mirex_submission.system.atomic import temporary_file
from mirex_submission.system.progress import Progress
from mirex_submission.system.workers import Workers

_Matches = Mapping[str, Mapping[str, float]]  # {file: {file of the same recording: seconds by which it begins later}}

_MOST_UNREADABLE = 0.1  # share of the tracks; a training has the same limit


def copies(task: AuditTask, folder: Path) -> list[Problem]:
    """Find the copies among the tracks of a task, and the tracks that are unreadable.

    Parameters
    ----------
    task : AuditTask
        The task.
    folder : Path
        Folder for a temporary file of fingerprints.
    """
    contents = contents_of_copies(task.tracks)
    same_bytes: dict[str, list[str]] = defaultdict(list)
    matches, unreadable = match(list(task.tracks), folder, task.threads)
    for file, content in contents.items():
        if file not in unreadable:  # empty or silent files can be equal without being copies
            same_bytes[content].append(file)
    problems = [
        _problem(task, files, "have the same bytes", code="audit.exact-copy")
        for files in same_bytes.values()
        if len(files) > 1
    ]
    for begins in _recordings(matches):
        if len({contents.get(file, file) for file in begins}) > 1:
            offsets_s = [round(begin, 2) for begin in begins.values()]
            problems.append(_problem(task, begins, "are one recording", code="audit.near-copy", offsets_s=offsets_s))
    if len(unreadable) > _MOST_UNREADABLE * len(task.tracks):
        text = f"{len(unreadable):,} of {len(task.tracks):,} tracks are unreadable: their audio could not be audited"
        advice = "repair the files or the lists, and run the audit again"
        problems.append(
            Problem(code="audit.too-many-unreadable", severity="warning", message=f"{text}: {advice}", paths=[])
        )
    for file in (file for file in task.tracks if file in unreadable):
        path = task.tracks[file].path
        text = f"{path}: {unreadable[file]}: left out of all checks that need audio"
        problems.append(Problem(code="audit.unreadable", severity="note", message=text, paths=[path]))
    return problems


def match(files: Sequence[str], folder: Path, threads: int) -> tuple[_Matches, dict[str, str]]:
    """Match files by their fingerprints; return the matches, and {unreadable file: reason}.

    folder : for a temporary file of fingerprints.
    """
    number = {file: k for k, file in enumerate(files)}
    unreadable = {}
    workers = Workers(threads)
    with temporary_file(folder) as f:
        index = Index(f, len(files))
        for scanned in Progress("fingerprints", len(files), unit="tracks").over(scan(fingerprint, files, workers)):
            if scanned.result is None:
                unreadable[scanned.item] = scanned.reason
            else:
                index.add(number[scanned.item], scanned.result)
        pairs = [(files[a], files[b], offset) for a, b, offset in index.candidates()]
    matches: dict[str, dict[str, float]] = defaultdict(dict)
    for compared in Progress("comparison", len(pairs), unit="pairs").over(scan(correlation, pairs, workers)):
        if compared.result and compared.result[0] >= SAME:
            first, second, _ = compared.item
            later_s = compared.result[1] * HOP_S
            matches[first][second], matches[second][first] = later_s, -later_s
    return {file: matches[file] for file in files if file in matches}, unreadable


def _recordings(matches: _Matches) -> list[dict[str, float]]:
    """Join matches to recordings; each is {file: seconds by which it begins after the earliest file}."""
    recordings: list[dict[str, float]] = []
    known: set[str] = set()
    for file in matches:
        if file in known:
            continue
        begins, waiting = {file: 0.0}, [file]
        while waiting:
            first = waiting.pop()
            for second, later_s in sorted(matches[first].items()):
                if second not in begins:
                    begins[second] = begins[first] + later_s
                    waiting.append(second)
        known |= begins.keys()
        earliest = min(begins.values())
        recordings.append({file: begins[file] - earliest for file in matches if file in begins})
    return recordings


def _problem(task: AuditTask, files: Collection[str], relation: str, *, code: str, **more: Any) -> Problem:
    """Make the problem of a group of copies; its severity depends on labels and folds."""
    tracks = [task.tracks[file] for file in files]
    labels = {class_key(track.label) for track in tracks if track.label}
    folds = task.crossed(files)
    names = [f"{track.path} ({track.label})" if track.label else track.path for track in tracks]
    text = f"{len(tracks)} tracks {relation}: {examples(names)}"
    severity: Severity = "note"
    if len(labels) > 1:
        severity = "error"
        text += f": they have {len(labels)} different labels: correct the labels, or remove the tracks"
    elif folds:
        severity = "warning"
        text += f": a system trains on one and is tested on another in {examples(folds)}: keep only one"
    else:
        text += ": the same music counts several times: keep only one"
    return Problem(
        code=code,
        severity=severity,
        message=text,
        paths=[track.path for track in tracks],
        labels=[track.label for track in tracks],
        folds=folds,
        **more,
    )
