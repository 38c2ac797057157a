"""The data of an audit: the lists of each fold, labels and groups of the tracks, and outputs of systems."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mirex_submission.errors import ListError, UsageError, reason_of
from mirex_submission.evaluation.folds.lists import find_lists
from mirex_submission.evaluation.judging.pairing import FoldTruth, outputs_of
from mirex_submission.evaluation.judging.probabilities import CROSSVAL_OUTPUTS
from mirex_submission.evaluation.names import check_system_names
from mirex_submission.features.list_sources import open_list
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Problems, Track
from mirex_submission.system.paths import full_path
from mirex_submission.system.unicode_forms import nfc

GROUPS = "groups.txt"  # as `folds --group` writes it beside the lists


@dataclass(frozen=True, slots=True)
class AuditTrack:
    """A track of the lists.

    Parameters
    ----------
    path : str
        Path as the list spells it.
    file : str
        Full path, which identifies the track in all lists.
    label : str
        Label, in one Unicode form; "" in a test list without labels.
    group : str
        Group key of its artist or album, from the first list of groups; "" if it is not known.
    """

    path: str
    file: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class AuditFold:
    """The tracks of one fold; truth: the list of the test tracks and their labels."""

    name: str
    train: list[AuditTrack]
    test: list[AuditTrack]
    truth: Path


@dataclass(frozen=True)
class AuditTask:
    """The input of all checks.

    Parameters
    ----------
    folds : list of AuditFold
        The folds. A track is the same object in all of them.
    groups : dict of str to dict of str to str
        {kind of groups, such as artist or album: {file: its group}}.
    systems : dict of str to list of Path or None
        {system: its output of each fold}.
    spelled_labels : list of str
        All labels, in each Unicode form that the lists have.
    threads : int
        Number of files to read in parallel.
    """

    folds: list[AuditFold]
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    systems: Mapping[str, Sequence[Path | None]] = field(default_factory=dict)
    spelled_labels: Sequence[str] = ()
    threads: int = 1

    @cached_property
    def tracks(self) -> dict[str, AuditTrack]:
        """All distinct tracks by their full path, in the order of the lists."""
        return {track.file: track for fold in self.folds for track in (*fold.train, *fold.test)}

    @cached_property
    def sides(self) -> dict[str, list[tuple[int, bool]]]:
        """The folds of each track, as {full path: [(number of the fold, True if it is a test track there)]}."""
        sides: dict[str, list[tuple[int, bool]]] = {}
        for k, fold in enumerate(self.folds):
            for is_test, tracks in ((False, fold.train), (True, fold.test)):
                for track in tracks:
                    sides.setdefault(track.file, []).append((k, is_test))
        return sides

    def crossed(self, files: Iterable[str]) -> list[str]:
        """Return the names of the folds that train on some of these files and test others."""
        sides = {side for file in files for side in self.sides[file]}
        return [fold.name for k, fold in enumerate(self.folds) if {(k, False), (k, True)} <= sides]


def truths_of(folds: Sequence[AuditFold]) -> list[FoldTruth]:
    """Return name and truth of each fold."""
    return [FoldTruth(fold.name, fold.truth) for fold in folds]


def read_task(
    sources: Sequence[str | os.PathLike[str]],
    *,
    groups: Sequence[tuple[str, str]] = (),
    outputs: Sequence[tuple[str | None, str]] = (),
    threads: int = 1,
) -> AuditTask:
    """Read the lists of a task, its groups, and the outputs of systems.

    Parameters
    ----------
    sources : sequence of path-like
        A folder with the lists of all folds; or a training list, and the truth or the test list (without labels). Each
        of the two may also be a folder of music or a table.
    groups : sequence of (str, str)
        Name of a kind of groups, and a list of path and group; by default the `groups.txt` of the folder.
    outputs : sequence of (str or None, str)
        Name of a system and folder of its outputs; without a name, the folder of one system or of several.
    threads : int
        Number of files to read in parallel.

    Raises
    ------
    ListError
        With every problem of all lists, with `file:line`.
    UsageError
        If neither a folder nor two lists are given, or a list of groups has none of the tracks.
    """
    if len(sources) == 1:
        task = find_lists(sources[0])
        files = [(fold.name, fold.train, fold.truth) for fold in task.folds]
        if not groups and (task.folder / GROUPS).is_file():
            groups = [("group", str(task.folder / GROUPS))]
    elif len(sources) == 2:
        name = Path(sources[1]).stem.removesuffix(".truth").removesuffix(".test")
        files = [(name, Path(sources[0]), Path(sources[1]))]
    else:
        text = f"{', '.join(map(str, sources))}: give the folder with the lists of all folds, or TRAINLIST TESTLIST"
        raise UsageError(text, code="usage.audit-lists")
    names = [name for name, _ in groups]
    if len(set(names)) < len(names):
        text = f"--groups: {', '.join(names)}: give each list a different name, such as artist=FILE album=FILE"
        raise UsageError(text, code="usage.groups")
    readers = [_labelled(path) for _, path in groups]
    readers += [reader for _, train, test in files for reader in (_training(train), _maybe_labelled(test))]
    all_lists = lists.read_all(*readers)
    of_groups = {
        name: {full_path(track.path): track.label for track in listed}
        for (name, _), listed in zip(groups, all_lists, strict=False)
    }
    of_folds = _tracks_of(all_lists[len(groups) :], next(iter(of_groups.values()), {}))
    folds = [
        AuditFold(name, train, test, truth)
        for (name, _, truth), train, test in zip(files, of_folds[::2], of_folds[1::2], strict=True)
    ]
    if len(sources) == 2:
        _check_sides(folds[0], *all_lists[len(groups) :], train_list=sources[0])
    known = {track.file for tracks in of_folds for track in tracks}
    for (name, path), of_group in zip(groups, of_groups.values(), strict=True):
        if not known & of_group.keys():
            text = f"--groups {path}: no track of the lists has a {name} here: write the paths as in the lists"
            raise UsageError(text, code="usage.groups")
    labels = list(dict.fromkeys(track.label for listed in all_lists[len(groups) :] for track in listed if track.label))
    return AuditTask(folds, of_groups, _systems(folds, outputs), labels, threads)


def group_key(name: str) -> str:
    """Return a key that is equal for names that differ only in case, blanks or Unicode form."""
    return " ".join(nfc(nfc(name).casefold()).split())


def _labelled(path: str | os.PathLike[str]) -> Callable[[], list[Track]]:
    return lambda: lists.read_labelled(path, min_classes=1, for_evaluator=False)


def _training(path: Path) -> Callable[[], list[Track]]:
    return lambda: _labelled(open_list("TRAINLIST", path, labelled=True))()


def _maybe_labelled(path: Path) -> Callable[[], list[Track]]:
    """Return a function that reads a truth list, or a test list (without tabs), whose tracks get the label ""."""

    def read() -> list[Track]:
        source = open_list("TESTLIST", path, labelled=False)
        is_labelled = source is path and any(b"\t" in line for _, line in lists.numbered_lines(path))
        return _labelled(path)() if is_labelled else lists.read_unlabelled(source)

    return read


def _tracks_of(listed: Sequence[Sequence[Track]], group_of: Mapping[str, str]) -> list[list[AuditTrack]]:
    """Make the tracks of each list; the same file is the same object in all lists."""
    known: dict[str, AuditTrack] = {}
    tracks: list[list[AuditTrack]] = []
    for entries in listed:
        tracks.append([])
        for entry in entries:
            file = full_path(entry.path)
            if file not in known:
                known[file] = AuditTrack(entry.path, file, nfc(entry.label), group_key(group_of.get(file, "")))
            tracks[-1].append(known[file])
    return tracks


def _check_sides(fold: AuditFold, trained: Sequence[Track], tested: Sequence[Track], *, train_list: object) -> None:
    """Raise ListError for test tracks that are also in the training list, as find_lists() does for a folder."""
    line_of = {track.file: entry.line for track, entry in zip(fold.train, trained, strict=True)}
    problems = Problems(fold.truth)
    for track, entry in zip(fold.test, tested, strict=True):
        if track.file in line_of:
            problem = f"{entry.path!r} is also in {train_list}:{line_of[track.file]}"
            problems.add(entry.line, problem, "remove it from one of the two", code="folds.train-and-test")
    problems.finish(n_entries=len(tested), expected="path<TAB>label")


def _systems(folds: Sequence[AuditFold], outputs: Sequence[tuple[str | None, str]]) -> dict[str, list[Path | None]]:
    """Find the outputs of each system; a folder without a name has outputs of one system, or a folder per system."""
    truths = truths_of(folds)
    named: list[tuple[str, Path]] = []
    for name, given in outputs:
        source = _outputs_in(Path(given), folds)
        if name or source:
            named.append((name or Path(given).absolute().name, source or Path(given)))
            continue
        try:
            inner = [(path.name, _outputs_in(path, folds)) for path in sorted(Path(given).iterdir()) if path.is_dir()]
        except OSError as error:
            text = f"{given}: cannot be read: {reason_of(error)}: give the folder of the outputs"
            raise ListError(text, code="folds.unreadable-folder") from error
        with_outputs = [(system, path) for system, path in inner if path]
        if not with_outputs:
            text = f"{given}: no output {folds[0].name}.txt in this folder or its subfolders: give NAME=DIR"
            raise ListError(text, code="audit.no-outputs")
        named += with_outputs
    check_system_names([name for name, _ in named])
    return {name: outputs_of(source, truths) for name, source in named}


def _outputs_in(folder: Path, folds: Sequence[AuditFold]) -> Path | None:
    """Return the folder of a system's outputs: this one, or `outputs` in it, where crossval writes them."""
    if folder.is_file():
        return folder
    places = [folder, folder / CROSSVAL_OUTPUTS]
    return next((place for place in places if any((place / f"{fold.name}.txt").is_file() for fold in folds)), None)
