"""Labelled tracks with the group, such as the artist, that must not be in training and test at once."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mirex_submission.errors import ListError, coded, examples
from mirex_submission.protocol.lists import Track
from mirex_submission.system.unicode_forms import nfc

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupedTrack(Track):
    """A labelled track with an absolute path, and the group (artist, album) that must not be in training and test."""

    group: str = ""


def grouped(path: str, label: str, group: str = "") -> GroupedTrack:
    """Make a track with a normalised group.

    Case, number of blanks and Unicode form of a group do not matter. A track without a group is its own group.
    """
    return GroupedTrack(path, label, " ".join(nfc(nfc(group).casefold()).split()) or path)


def warn_of_ungrouped(source: str, tracks: Sequence[GroupedTrack], group: str) -> None:
    """Warn of tracks without a group."""
    alone = [track.path for track in tracks if track.group == track.path]
    if alone:
        warning = f"{source}: {len(alone)} track(s) without {group}; each is a group of its own: {examples(alone)}"
        log.warning("%s", coded(warning, code="folds.no-group"))


def one_form(tracks: Sequence[GroupedTrack]) -> list[GroupedTrack]:
    """Spell each label in one Unicode form, and warn if it had several, which would be several classes in a list."""
    several = warn_of_forms("labels", (track.label for track in tracks))
    return [replace(track, label=nfc(track.label)) if nfc(track.label) in several else track for track in tracks]


def warn_of_forms(where: str, names: Iterable[str]) -> set[str]:
    """Warn of names that differ only in their Unicode form, and return these names in composed form."""
    forms: dict[str, set[str]] = defaultdict(set)
    for name in set(names):
        forms[nfc(name)].add(name)
    several = {name for name, spelled in forms.items() if len(spelled) > 1}
    if several:
        text = (
            f"{where}: {len(several)} name(s) in several Unicode forms, which count as one name: "
            f"{examples(sorted(several))}"
        )
        log.warning("%s", coded(text, code="folds.unicode-forms"))
    return several


def check_names(tracks: Sequence[GroupedTrack]) -> None:
    """Raise ListError if a name on the disk cannot stand in a list."""
    paths = [t.path for t in tracks if re.search(r"[\r\n]|[\ud800-\udfff]", t.path) or "\t" in t.label]
    if paths:
        lines = (f"{path!r}: a list cannot hold this path or its label: rename the file or folder" for path in paths)
        raise ListError("\n".join(coded(line, code="folds.unlistable-name") for line in lines))
