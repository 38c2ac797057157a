"""Find leaks: groups, titles and folders in both training and test of a fold, which a system can learn instead."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import TypeVar

from mirex_submission.errors import examples
from mirex_submission.evaluation.audit.records import Problem
from mirex_submission.evaluation.audit.task import AuditTask, AuditTrack, group_key
from mirex_submission.system.unicode_forms import nfc

Thing = TypeVar("Thing")

_NUMBERING = 0.1  # if more than this share of the names with a number is repeated, the names only count tracks
_FOLDERS_A_CLASS = 2  # from this number per class on, folders may be albums or artists, not parts of the collection
_FOLDER_TRACKS = 30  # highest mean number of tracks in folders of albums or artists
_BRACKETS = re.compile(r"\([^)]*\)|\[[^]]*\]")
_TRACK_NUMBER = re.compile(r"^\d{1,3}[ ._-]+(?=\D*[^\W\d_]{2})")


def leaks(task: AuditTask) -> list[Problem]:
    """Find groups, titles and folders in both training and test of a fold, and names in several Unicode forms."""
    groups = [problem for kind in task.groups for problem in _split_groups(task, kind)]
    # If groups are given, folders need not be guessed to be groups.
    return [*groups, *_split_titles(task), *([] if task.groups else _split_folders(task)), *_unicode_forms(task)]


def _split_groups(task: AuditTask, kind: str) -> Iterator[Problem]:
    """Yield the groups that are in both training and test of a fold."""
    group_of = task.groups[kind]
    members = _grouped_by(task.tracks.values(), lambda track: group_key(group_of.get(track.file, "")))
    for tracks in members.values():
        folds = task.crossed(track.file for track in tracks)
        if folds:
            name = group_of[tracks[0].file]
            text = (
                f"{kind} {name!r} is in training and test of {examples(folds)}, with {len(tracks)} tracks: a system "
                "can recognise it instead of the class: make the folds with `folds --group`"
            )
            yield Problem(
                code="audit.split-group",
                severity="warning",
                message=text,
                paths=[track.path for track in tracks],
                labels=[track.label for track in tracks],
                folds=folds,
                group=name,
            )


def _split_titles(task: AuditTask) -> Iterator[Problem]:
    """Yield the titles (from file names) that are in both training and test of a fold."""
    titles = _grouped_by(task.tracks.values(), _title)
    numbered = [tracks for title, tracks in titles.items() if title[-1].isdigit()]
    n_repeated = sum(len(tracks) for tracks in numbered if len(tracks) > 1)
    is_numbering = n_repeated > _NUMBERING * sum(map(len, numbered))
    for title, tracks in titles.items():
        folds = task.crossed(track.file for track in tracks)
        if not folds or (title[-1].isdigit() and is_numbering):
            continue
        labels = {track.label for track in tracks}
        text = (
            f"title {title!r} is in training and test of {examples(folds)}: "
            f"{examples([track.path for track in tracks])}: "
            "if it is the same piece of music, keep its tracks in the same fold"
        )
        yield Problem(
            code="audit.split-title",
            severity="warning" if len(labels) == 1 else "note",
            message=text,
            paths=[track.path for track in tracks],
            labels=[track.label for track in tracks],
            folds=folds,
            group=title,
        )


def _title(track: AuditTrack) -> str:
    """Return the title in a file name without track number, brackets, case and punctuation; "" if there is none."""
    stem = nfc(PurePath(track.path).stem).casefold()
    stem = _BRACKETS.sub(" ", _TRACK_NUMBER.sub("", stem))
    words = re.findall(r"[^\W_]+", stem)
    return " ".join(words) if any(len(re.sub(r"\d", "", word)) > 2 for word in words) else ""


def _split_folders(task: AuditTask) -> Iterator[Problem]:
    """Yield the folders that are in both training and test of a fold, if folders look like albums or artists."""
    folders = _grouped_by(task.tracks.values(), lambda track: str(PurePath(nfc(track.file)).parent))
    labels = {track.label for track in task.tracks.values()}
    classes = {group_key(label) for label in labels}
    several = {
        folder: tracks
        for folder, tracks in folders.items()
        if len(tracks) > 1 and group_key(PurePath(folder).name) not in classes
    }
    if len(several) < max(_FOLDERS_A_CLASS * len(labels), len(task.tracks) / _FOLDER_TRACKS):
        return
    for folder, tracks in several.items():
        folds = task.crossed(track.file for track in tracks)
        if folds:
            text = (
                f"folder {folder} is in training and test of {examples(folds)}, with {len(tracks)} tracks: if it is an "
                "album or an artist, give it as a group with `folds --group`"
            )
            yield Problem(
                code="audit.split-folder",
                severity="note",
                message=text,
                paths=[track.path for track in tracks],
                labels=[track.label for track in tracks],
                folds=folds,
                group=folder,
            )


def _unicode_forms(task: AuditTask) -> Iterator[Problem]:
    """Yield the labels, groups and paths that are spelled in several Unicode forms."""
    tracks = task.tracks
    yield from _forms(task, "label", {label: [] for label in task.spelled_labels})
    for kind, group_of in task.groups.items():
        names: dict[str, list[str]] = defaultdict(list)
        for file in tracks:
            if file in group_of:
                names[group_of[file]].append(file)
        yield from _forms(task, kind, names)
    yield from _forms(task, "path", {file: [file] for file in tracks})


def _forms(task: AuditTask, kind: str, files_of: dict[str, list[str]]) -> Iterator[Problem]:
    """Yield the names that differ only in their Unicode form; files_of: {name: its files}."""
    for name, spellings in _grouped_by(files_of, nfc).items():
        if len(spellings) > 1:
            files = [file for spelling in spellings for file in files_of[spelling]]
            folds = task.crossed(files)
            text = (
                f"{kind} {name!r} is spelled in {len(spellings)} Unicode forms: for programs that compare bytes these "
                "are different names: use the same form everywhere"
            )
            yield Problem(
                code="audit.unicode-forms",
                severity="warning" if folds or kind == "label" else "note",
                message=text,
                paths=[task.tracks[file].path for file in files],
                folds=folds,
                group=name,
            )


def _grouped_by(things: Iterable[Thing], name_of: Callable[[Thing], str]) -> dict[str, list[Thing]]:
    """Group things by name; things with the name "" are left out."""
    groups: dict[str, list[Thing]] = defaultdict(list)
    for thing in things:
        groups[name_of(thing)].append(thing)
    groups.pop("", None)
    return groups
