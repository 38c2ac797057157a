"""Tracks from folders: labelled tracks from folders named by their class, or all audio below a folder.

A warning names every file and class that is left out.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mirex_submission.errors import AudioError, ListError, coded, examples, reason_of
from mirex_submission.features.audio import read_header
from mirex_submission.protocol.groups import GroupedTrack, check_names, grouped

log = logging.getLogger(__name__)

# A file with one of these suffixes is always a track, and extraction reports it if it is unreadable. Other files are
# tracks if their header can be read.
AUDIO_SUFFIXES = (".aif", ".aiff", ".au", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".wav")
# File servers, Windows and archives of macOS add these to the files of a user.
_OF_SYSTEMS = frozenset(
    (
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX",
        "lost+found",
    )
)
_PART = re.compile(
    r"(train(ing)?|test(ing)?|val(id(ation)?)?|dev(el(opment)?)?|eval(uation)?|(fold|split)[-_ ]?\d+)"
    r"([-_ ]?(set|data|audio|clips|files|songs|tracks|wavs?))?",
    re.IGNORECASE,
)


def from_folders(folder: str | os.PathLike[str], *, groups: bool = False) -> list[GroupedTrack]:
    """Find the audio files below each folder in `folder`, whose name is their class.

    Hidden files and folders, and those of file servers and systems, are left out. Links are followed, but each folder
    is read once.

    Parameters
    ----------
    folder : path-like
        Folder with a folder for each class.
    groups : bool
        Make the folders below the classes, such as those of artists, groups; folders of the same name in several
        classes are one group. A track in no such folder is its own group; by default all tracks are.

    Raises
    ------
    ListError
        There is no audio file, a folder cannot be read, a list cannot have one of the names, or the folders are not
        classes but parts of a collection, such as `train` and `test`.
    """
    top = os.path.abspath(folder)
    tracks: list[GroupedTrack] = []
    left_out: dict[str, list[str]] = defaultdict(list)
    for path in _audio(top, left_out):
        label, *below = os.path.relpath(path, top).split(os.sep)
        if below:
            tracks.append(grouped(path, label, below[0] if groups and len(below) > 1 else ""))
        else:
            left_out["not in the folder of a class"].append(path)
    _warn_of_left_out(top, left_out)
    if not tracks:
        problem = f"{top}: the folders in it have no audio file"
        raise ListError(f"{problem}: give the folder that has a folder for each class", code="folds.no-audio")
    _check_level(top, tracks)
    lost = sorted(
        {name for name in os.listdir(top) if os.path.isdir(os.path.join(top, name))} - {t.label for t in tracks}
    )
    lost = [name for name in lost if not _is_hidden(name)]
    if lost:
        problem = f"{top}: {len(lost)} class(es) left out, because their folders have no audio file: {', '.join(lost)}"
        log.warning("%s", coded(problem, code="folds.lost-class"))
    check_names(tracks)
    return sorted(tracks, key=lambda track: track.path)


def audio_below(folder: str | os.PathLike[str]) -> list[str]:
    """Find all audio files in a folder and below, by the rules of `from_folders`, sorted. Raises ListError."""
    top = os.path.abspath(folder)
    left_out: dict[str, list[str]] = defaultdict(list)
    paths = sorted(_audio(top, left_out))
    _warn_of_left_out(top, left_out)
    if not paths:
        raise ListError(f"{top}: no audio file in it or below: give a folder with audio, or a list", code="list.folder")
    check_names([GroupedTrack(path) for path in paths])
    return paths


def check_no_loose_audio(folder: str | os.PathLike[str]) -> None:
    """Raise ListError if audio files are in a folder itself, beside the folders of the classes."""
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not _is_hidden(name)]
    loose = [path for path in paths if not os.path.isdir(path) and not _reason_against(path)]
    if loose:
        text = (
            f"{folder}: {len(loose)} audio file(s) are beside the folders: if the folders are classes, these files "
            "have no class; if not, no file has one: move the files into the folders of their classes, or give a table "
            "with the columns path and label"
        )
        raise ListError(f"{text}: {examples(loose)}", code="list.two-readings")


def _audio(top: str, left_out: dict[str, list[str]]) -> Iterator[str]:
    """Yield the path of each track below a folder; add all other files to `left_out`, keyed by the reason."""
    for parent, names in _folders(top, left_out):
        for name in sorted(names):
            path = os.path.join(parent, name)
            reason = _reason_against(path)
            if reason:
                left_out[reason].append(path)
            else:
                yield path


def _warn_of_left_out(top: str, left_out: Mapping[str, Sequence[str]]) -> None:
    for reason, paths in left_out.items():
        problem = f"{top}: {len(paths)} file(s) or folder(s) left out, {reason}: {examples(paths)}"
        log.warning("%s", coded(problem, code="folds.left-out"))


def _folders(top: str, left_out: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each visible folder once, with the names of its files; linked folders come last."""
    read = {_identity(above) for above in Path(os.path.realpath(top)).parents}
    n_hidden, links = 0, deque([top])
    while links:
        for parent, folders, names in os.walk(links.popleft(), onerror=_cannot_list):
            visible = sorted(name for name in folders if not _is_hidden(name))
            files = [name for name in names if not _is_hidden(name)]
            n_hidden += len(folders) - len(visible) + len(names) - len(files)
            folders.clear()
            if _identity(parent) in read:
                left_out[f"already read under another name, or a folder above {top}"].append(parent)
                continue
            read.add(_identity(parent))
            for name in visible:
                path = os.path.join(parent, name)
                if os.path.islink(path):
                    links.append(path)
                else:
                    folders.append(name)
            yield parent, files
    if n_hidden:
        log.info("%s: %d hidden file(s) and folder(s) left out", top, n_hidden)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _OF_SYSTEMS


def _identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _reason_against(path: str) -> str:
    """Return why a file is not a track; "" for a track."""
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.isfile(path):
        return "a broken link, or not a regular file"
    if suffix in AUDIO_SUFFIXES:
        return ""
    try:
        read_header(path)
    except AudioError as error:
        return f"{suffix or 'no suffix'}: {error.text}"
    return ""


def _check_level(top: str, tracks: Sequence[GroupedTrack]) -> None:
    """Raise ListError if the folders in `top` are not classes, but parts of a collection with the classes below."""
    depths: dict[str, int] = {}
    for track in tracks:
        depth = os.path.relpath(track.path, top).count(os.sep)
        depths[track.label] = min(depth, depths.get(track.label, depth))
    below = [name for name, depth in depths.items() if depth > 1]
    parts = [name for name in depths if _PART.fullmatch(name)]
    if len(depths) == 1:
        parts = below
    elif len(parts) < len(depths):  # a class may be named `train` and hold folders of artists
        parts = [name for name in parts if name in below]
        parts = parts if len(parts) > 1 else []
    if parts:
        parts.sort()
        problem = f"{top}: {', '.join(parts)}: not the name of a class, but a part of a collection above the classes"
        part = os.path.join(top, parts[0])
        advice = f"give one of them, such as {part} (folds: --from-folders {part})"
        raise ListError(f"{problem}: {advice}, or a table with the columns path and label", code="folds.parts")


def _cannot_list(error: OSError) -> None:
    problem = f"{error.filename}: cannot be read: {reason_of(error)}"
    raise ListError(f"{problem}: check the folder", code="folds.unreadable-folder")
