#!/usr/bin/env python3
"""Measure how often the audit warns of shortcuts in clean corpora, and how often it finds planted ones.

    shortcuts.py [--corpora 20] [--clips 60] [--seconds 5] [--seed 0] [--planted ROW ...]

Each corpus has clips of one style of examples/synthetic_corpus.py in three folds, with two labels that are independent
of the music. Each row shows what was planted in the clips of one label; the number of corpora with a warning for all
features together, and for any single feature; and the mean accuracy of all features together (chance: 50 %). In the
last row each label has its own style: features of the files can depend on the music.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from synthetic_corpus import STYLES, synthesise

from mirex_submission.evaluation.audit.file_features import file_features
from mirex_submission.evaluation.audit.shortcuts import ALL, shortcuts_of
from mirex_submission.evaluation.audit.task import AuditFold, AuditTask, AuditTrack

RATE_HZ = 22050
LABELS = "first", "second"


def low_passed(y):
    return scipy.signal.sosfiltfilt(scipy.signal.butter(8, 8000, fs=RATE_HZ, output="sos"), y)


def as_wav(alter):
    def write(path, y):
        soundfile.write(path, alter(y), RATE_HZ, "PCM_16", format="WAV")

    return write


def as_mp3(path, y):
    soundfile.write(path, y, RATE_HZ, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=0.63)


def from_mp3(path, y):
    as_mp3(path, y)
    soundfile.write(path, soundfile.read(path)[0][: len(y)], RATE_HZ, "PCM_16", format="WAV")


def at_16_khz(path, y):
    soundfile.write(path, soxr.resample(y, RATE_HZ, 16000), 16000, "PCM_16", format="WAV")


STYLE = "another style"
clean = as_wav(lambda y: y)
PLANTED = {
    "nothing": clean,
    "band limit of 8 kHz": as_wav(low_passed),
    "3 dB louder": as_wav(lambda y: y * 10 ** (3 / 20)),
    "sample rate of 16 kHz": at_16_khz,
    "MP3 at 64 kbit/s": as_mp3,
    "WAV decoded from MP3": from_mp3,
    "DC offset of 0.002": as_wav(lambda y: y + 0.002),
    "0.1 s of silence before": as_wav(lambda y: np.r_[np.zeros(RATE_HZ // 10), y]),
    "clipped at -2 dB": as_wav(lambda y: np.clip(y, -0.8 * np.abs(y).max(), 0.8 * np.abs(y).max())),
}


def task_of(folder, sounds, writers, seed):
    """Write sounds, every second one with the second label; return the task."""
    tracks = []
    rng = np.random.default_rng(seed)
    for k, y in enumerate(sounds):
        path = folder / f"{rng.integers(1 << 40):x}.audio"
        writers[k % 2](path, y)
        tracks.append(AuditTrack(str(path), str(path), LABELS[k % 2]))
    fold_of = {track.file: k // 2 % 3 for k, track in enumerate(tracks)}
    folds = []
    for f in range(3):
        sides = [[track for track in tracks if (fold_of[track.file] == f) == tested] for tested in (False, True)]
        folds.append(AuditFold(f"fold{f}", *sides, Path()))
    return AuditTask(folds)


def sounds_of(styles, seed, options):
    """Synthesise the clips of a corpus; their levels vary as those of recordings do."""
    rng = np.random.default_rng(seed)
    clips = [
        synthesise(styles[k % 2], 1000 * seed + k, options.seconds, RATE_HZ, 1)[:, 0] for k in range(options.clips)
    ]
    return [y * 10 ** (rng.normal(-8, 1.5) / 20) for y in clips]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=20)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planted", nargs="+", default=[*PLANTED, STYLE], help="rows to measure")
    options = parser.parse_args()
    results = {name: [] for name in options.planted}
    for seed in range(options.seed, options.seed + options.corpora):
        of_one_style = sounds_of((STYLES[2], STYLES[2]), seed, options)
        for name, of_row in results.items():
            sounds = sounds_of(STYLES[1:3], seed, options) if name == STYLE else of_one_style
            with tempfile.TemporaryDirectory() as folder:
                task = task_of(Path(folder), sounds, (clean, PLANTED.get(name, clean)), seed)
                made, problems = shortcuts_of({file: file_features(file) for file in task.tracks}, task)
            of_row.append((made[0].accuracy, {p.feature for p in problems if p.severity == "warning"}))
    print(f"{'planted':26}{'all warn':>9}{'single':>8}{'accuracy':>10}  features that warn alone")
    for name, of_row in results.items():
        n_all = sum(ALL in warned for _, warned in of_row)
        n_alone = sum(bool(warned - {ALL}) for _, warned in of_row)
        alone = sorted(set().union(*(warned for _, warned in of_row)) - {ALL})
        accuracy = np.mean([accuracy for accuracy, _ in of_row])
        print(f"{name:26}{n_all:9}{n_alone:8}{accuracy:10.1%}  {', '.join(alone)}")


if __name__ == "__main__":
    main()
