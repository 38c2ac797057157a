"""Labelled tracks with groups from a loader of mirdata (tables and folders are read in protocol and features)."""

from __future__ import annotations

import logging
import os
from typing import Any

from mirex_submission.errors import ListError, UsageError, coded
from mirex_submission.protocol.groups import GroupedTrack, check_names, grouped, warn_of_forms, warn_of_ungrouped
from mirex_submission.system.installation import install_extra

log = logging.getLogger(__name__)

# Attributes of mirdata's tracks with a label; `canonical_composer` is from maestro, `tags` are MTG-Jamendo's moods.
MIRDATA_LABELS = ("genre", "genres", "mood", "composer", "canonical_composer", "tags")


def from_mirdata(name: str, home: str | os.PathLike[str], *, group: str | None = None) -> list[GroupedTrack]:
    """Return the tracks of one of mirdata's loaders that have exactly one label and an existing audio file.

    Nothing is downloaded.

    Parameters
    ----------
    name : str
        Name of the loader.
    home : path-like
        Folder of its data.
    group : str, optional
        Attribute of mirdata's tracks that groups them, such as `artist` or `album_id`.

    Raises
    ------
    UsageError
        If mirdata is not installed, or has no such loader or attribute.
    ListError
        If no track can be used.
    """
    home = os.path.abspath(home)
    loaded = _load_mirdata(name, home)
    attributes = dir(loaded[0]) if loaded else []
    label_attribute = next((attribute for attribute in MIRDATA_LABELS if attribute in attributes), None)
    if label_attribute is None:
        problem = f"mirdata's {name}: its tracks have no {', '.join(MIRDATA_LABELS)}"
        raise ListError(f"{problem}: use another loader", code="folds.mirdata-label")
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
        problem = f"mirdata's {name}: none of {len(rows)} tracks has one {label_attribute} and an audio file in {home}"
        raise ListError(f"{problem}: check the folder", code="folds.no-audio")
    if len(tracks) < len(rows):
        text = f"mirdata's {name}: left out {len(rows) - len(tracks)} of {len(rows)} tracks"
        log.warning("%s", coded(f"{text}: no audio file, or not exactly one {label_attribute}", code="folds.left-out"))
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
    return ListError(f"{problem}: download it in Python: `import mirdata; {fetch}`", code="folds.mirdata-data")


def _audio_of(track: Any) -> str:
    """Return the first audio path of a track of mirdata (`audio_path`, `audio_path_mono`), or ""."""
    paths = [value for key, value in sorted(vars(track).items()) if key.startswith("audio") and isinstance(value, str)]
    return os.path.abspath(paths[0]) if paths else ""


def _single(value: Any) -> str:
    """Return a text, or the only text of a list; "" if there are none or several."""
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""
