"""Check that a run has no more unreadable tracks than it tolerates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from mirex_submission.errors import AudioError
from mirex_submission.protocol.lists import Track


def check_readable(readable: Collection[str], paths: Collection[str], *, strict: bool) -> None:
    """Check that at least half of the tracks are readable.

    Parameters
    ----------
    readable, paths : collections of str
        The readable tracks, and all tracks.
    strict : bool
        Whether a single unreadable track is an error.

    Raises
    ------
    AudioError
        Too many tracks are unreadable.
    """
    n_unreadable = len(paths) - len(readable)
    if 2 * n_unreadable > len(paths) or (strict and n_unreadable):
        raise AudioError(
            f"{n_unreadable} of {len(paths)} tracks are unreadable (see the reason for each): finished work is kept; "
            "repair the files or the list and repeat the command",
            code="audio.too-many",
        )


def check_trainable(tracks: Sequence[Track], readable: Iterable[Track], max_bad: float) -> None:
    """Check that enough tracks of every class are readable.

    Parameters
    ----------
    tracks, readable : sequences of Track
        All tracks of a training, and the readable ones.
    max_bad : float
        Share of the tracks that may be unreadable.

    Raises
    ------
    AudioError
        More tracks than `max_bad` are unreadable, or all tracks of a class.
    """
    kept = Counter(track.label for track in readable)
    empty = sorted({track.label for track in tracks} - kept.keys())
    if empty:
        raise AudioError(
            f"no track of class {', '.join(map(repr, empty))} is readable (see the reason for each): repair the files "
            "or the list",
            code="audio.empty-class",
        )
    n_unreadable = len(tracks) - kept.total()
    if n_unreadable > max_bad * len(tracks):
        raise AudioError(
            f"{n_unreadable} of {len(tracks)} training tracks are unreadable, more than {max_bad:.0%} (see the reason "
            "for each): repair the files or the list, or allow more with --max-bad",
            code="audio.too-many-to-train",
        )
