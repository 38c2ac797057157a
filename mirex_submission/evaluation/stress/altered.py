"""The altered audio of test tracks: made for a step of the systems, and removed after it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirex_submission.errors import AudioError
from mirex_submission.evaluation.stress.deformations import DEFORMATIONS
from mirex_submission.features.opening import open_file, open_sound
from mirex_submission.protocol import lists
from mirex_submission.system.atomic import make_folder, remove, write_file
from mirex_submission.system.paths import full_path
from mirex_submission.system.workers import Workers

VERSION = 1  # of the deformations: a new version repeats all steps
_MOST_S = 600  # longest part of a clip that is used; limits memory and time
_BLOCK_FRAMES = 1 << 18


@dataclass(frozen=True)
class Variant:
    """A deformation of one strength, applied to the test tracks of one fold.

    Parameters
    ----------
    deformation : str
        One of DEFORMATIONS.
    strength : float
        One of its strengths.
    source : Path
        The fold's test list.
    folder : Path
        Folder of the altered audio while it is needed.
    seed : int
        Seed of noise and excerpts.
    """

    deformation: str
    strength: float
    source: Path
    folder: Path
    seed: int

    @property
    def name(self) -> str:
        """Name of the variant in file names, such as `mp3.64`."""
        return f"{self.deformation}.{self.strength:g}"

    @property
    def test_list(self) -> Path:
        """The list of the altered tracks, in the order of the fold's test list."""
        return self.folder.with_name(f"{self.folder.name}.txt")

    def write_list(self) -> None:
        """Write the list of the altered tracks. Raises StorageError."""
        make_folder(self.folder.parent)
        write_file(self.test_list, "".join(f"{altered}\n" for _, altered in self._pairs()).encode())

    def _pairs(self) -> list[tuple[str, str]]:
        """Return each test track with its altered file, which keeps its name, as a system may use the name."""
        paths = [track.path for track in lists.read_unlabelled(self.source)]
        return [(path, f"{self.folder}/{k:06d}/{Path(path).stem}.wav") for k, path in enumerate(paths)]

    def make(self, workers: Workers) -> list[str]:
        """Make the altered audio; returns a note for each track that could not be altered.

        Raises
        ------
        StorageError
            The files cannot be written.
        """
        import joblib

        self.remove()  # a killed run may have left files
        tasks = (
            joblib.delayed(alter)(full_path(source), target, self.deformation, self.strength, (self.seed, k))
            for k, (source, target) in enumerate(self._pairs())
        )
        with workers.joined():
            return sorted(filter(None, workers.run(tasks)))

    def remove(self) -> None:
        """Remove the altered audio."""
        remove(self.folder)


def variants(test_lists: dict[str, Path], folder: Path, *, quick: bool, seed: int) -> dict[str, list[Variant]]:
    """Return the variants of each fold, in the order in which they are made.

    Parameters
    ----------
    test_lists : dict of str to Path
        {fold: its test list}.
    folder : Path
        Folder for the altered audio.
    quick : bool
        Use only one strength of each deformation.
    seed : int
        Seed of noise and excerpts.
    """
    return {
        fold: [
            Variant(name, strength, test_list, folder / f"v{VERSION}" / fold / f"{name}.{strength:g}", seed)
            for name, deformation in DEFORMATIONS.items()
            for strength in ((deformation.quick,) if quick else deformation.strengths)
        ]
        for fold, test_list in test_lists.items()
    }


def alter(source: str, target: str, deformation: str, strength: float, seed: Sequence[int]) -> str:
    """Write the altered audio of a file as 16-bit WAV of the same rate; an unreadable file is only linked.

    Returns
    -------
    str
        Reason why it is only linked, or "".
    """
    import soundfile

    make_folder(Path(target).parent)
    try:
        samples, rate_hz = _read(source)
    except AudioError as error:
        os.symlink(source, target)
        return f"{source}: {error}"
    altered = DEFORMATIONS[deformation].alter(samples, rate_hz, strength, np.random.default_rng(seed))
    file = io.BytesIO()
    soundfile.write(file, np.clip(altered, -1, 1), rate_hz, subtype="PCM_16", format="WAV")
    write_file(Path(target), file.getbuffer())
    return ""


def _read(path: str) -> tuple[np.ndarray, int]:
    """Read the samples of all channels, at most ten minutes. Raises AudioError."""
    with open_file(path) as fd, open_sound(fd) as f:
        rate_hz, n_most, blocks, n = int(f.samplerate), _MOST_S * int(f.samplerate), [], 0
        while n < n_most:
            block = np.zeros((min(_BLOCK_FRAMES, n_most - n), f.channels), np.float32)
            try:
                n_read = len(f.read(out=block))
            except (RuntimeError, ValueError) as error:  # from libsndfile and from PyAV
                if not n:
                    raise AudioError(f"cannot be decoded: {error}", code="audio.undecodable") from error
                n_read = 0
            if not n_read:
                break
            blocks.append(block[:n_read])
            n += n_read
    if not n:
        raise AudioError("no samples", code="audio.empty")
    return np.nan_to_num(np.concatenate(blocks), posinf=1.0, neginf=-1.0), rate_hz
