"""Whether enough of a list's tracks can be used to go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from mirex_submission.errors import AudioError
from mirex_submission.features.extraction import Extracted
from mirex_submission.protocol.lists import Track


def usable_of(records: Mapping[str, Extracted]) -> list[str]:
    """The paths whose features there are."""
    return [path for path, record in records.items() if record.content]


def enough_usable(usable: Collection[str], paths: Collection[str], *, strict: bool) -> None:
    """Raise AudioError if more than half of the paths, with `strict` if any, cannot be used."""
    n_bad = len(paths) - len(usable)
    if 2 * n_bad > len(paths) or (strict and n_bad):
        raise AudioError(
            f"{n_bad} of {len(paths)} tracks cannot be used (see their reasons): finished work is kept, "
            "mend the files or the list and run the same command again"
        )


def enough_to_train(tracks: Sequence[Track], usable: Iterable[Track], max_bad: float) -> None:
    """Raise AudioError if more than the share `max_bad` of the tracks, or all of a class, cannot be used."""
    kept = Counter(track.label for track in usable)
    empty = sorted({track.label for track in tracks} - kept.keys())
    if empty:
        raise AudioError(
            f"no track of class {', '.join(map(repr, empty))} can be used (see their reasons): mend the files or the "
            "list"
        )
    n_bad = len(tracks) - kept.total()
    if n_bad > max_bad * len(tracks):
        raise AudioError(
            f"{n_bad} of {len(tracks)} training tracks cannot be used, more than {max_bad:.0%} (see their reasons): "
            "mend the files or the list, or allow more with --max-bad"
        )
