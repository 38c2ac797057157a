"""Labelled tracks with their groups from a loader of mirdata; tables and folders are read as lists are."""

from __future__ import annotations

import logging
import os
from typing import Any

from mirex_submission.errors import ListError, UsageError, coded
from mirex_submission.protocol.groups import GroupedTrack, check_names, grouped, warn_of_forms, warn_of_ungrouped
from mirex_submission.system.installation import install_extra

log = logging.getLogger(__name__)

# The label in mirdata's loaders: `canonical_composer` is maestro's, `tags` are the moods of MTG-Jamendo.
MIRDATA_LABELS = ("genre", "genres", "mood", "composer", "canonical_composer", "tags")


def from_mirdata(name: str, home: str | os.PathLike[str], *, group: str | None = None) -> list[GroupedTrack]:
    """Take the tracks of one of mirdata's loaders that have one label, and an audio file on the disk.

    Nothing is downloaded.

    Parameters
    ----------
    name : str
        Name of the loader.
    home : path-like
        Folder of its data.
    group : str, optional
        Attribute of mirdata's tracks that says what belongs together, such as `artist` or `album_id`.

    Raises
    ------
    UsageError
        Without mirdata, or if it has no such loader or attribute.
    ListError
        If there is no track to use.
    """
    home = os.path.abspath(home)
    loaded = _load_mirdata(name, home)
    attributes = dir(loaded[0]) if loaded else []
    label_attribute = next((attribute for attribute in MIRDATA_LABELS if attribute in attributes), None)
    if label_attribute is None:
        problem = f"mirdata's {name}: its tracks have no {', '.join(MIRDATA_LABELS)}"
        raise ListError(f"{problem}: take another loader", code="folds.mirdata-label")
    if group and group not in attributes:
        shown = ", ".join(attribute for attribute in attributes if not attribute.startswith("_"))
        problem = f"mirdata's {name}: its tracks have no {group!r}"
        raise UsageError(f"{problem}: --group takes one of {shown}", code="folds.mirdata-group")
    try:
        rows = [
            (
                _audio_of(track),
                _single(getattr(track, label_attribute)),
                _single(getattr(track, group)) if group else "",
            )
            for track in loaded
        ]
    except OSError as error:
        raise _not_fetched(name, home, error) from None
    tracks = [grouped(path, label, group_name) for path, label, group_name in rows if label and os.path.isfile(path)]
    if not tracks:
        problem = f"mirdata's {name}: none of {len(rows)} tracks has one {label_attribute} and its audio in {home}"
        raise ListError(f"{problem}: check the folder", code="folds.no-audio")
    if len(tracks) < len(rows):
        text = f"mirdata's {name}: left out {len(rows) - len(tracks)} of {len(rows)} tracks"
        log.warning("%s", coded(f"{text}: no audio file, or not one {label_attribute}", code="folds.left-out"))
    check_names(tracks)
    if group:
        warn_of_ungrouped(f"mirdata's {name}", tracks, group)
        warn_of_forms(f"mirdata's {name}: {group}", (group_name for *_, group_name in rows))
    return tracks


def _load_mirdata(name: str, home: str) -> list[Any]:
    """Load the tracks of a loader of mirdata."""
    try:
        import mirdata
    except ModuleNotFoundError as error:
        problem = f"--from-mirdata: the Python package {error.name!r} is missing"
        raise UsageError(f"{problem}: {install_extra('mirdata')}", code="folds.no-mirdata") from None
    if name not in mirdata.list_datasets():
        problem = f"mirdata has no loader {name!r}: one of {', '.join(mirdata.list_datasets())}"
        raise UsageError(problem, code="folds.mirdata-loader")
    try:
        return list(mirdata.initialize(name, data_home=home).load_tracks().values())
    except OSError as error:
        raise _not_fetched(name, home, error) from None


def _not_fetched(name: str, home: str, error: OSError) -> ListError:
    """Return the error for an index or metadata of mirdata that is missing."""
    fetch = f"mirdata.initialize({name!r}, {home!r}).download()"
    problem = f"mirdata's {name} in {home}: {error}"
    return ListError(f"{problem}: fetch it with `import mirdata; {fetch}`", code="folds.mirdata-data")


def _audio_of(track: Any) -> str:
    """Return the first path that a track of mirdata has to its audio (`audio_path`, `audio_path_mono`), or ""."""
    paths = [value for key, value in sorted(vars(track).items()) if key.startswith("audio") and isinstance(value, str)]
    return os.path.abspath(paths[0]) if paths else ""


def _single(value: Any) -> str:
    """Return a text, or the only text of a list; "" for none or several."""
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
