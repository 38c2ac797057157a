#!/usr/bin/env python3
"""Time the views of the recipe modulation, from audio file to features, against a plain prototype and other features.

    views.py --audio DIR [--clips N] [--rounds N]

Figures are CPU milliseconds per clip (time.process_time) on one thread, decoding included: the mean over the clips of
the medians over the rounds. In every round, every contender gets every clip, in random order. The clips below DIR are
first converted to 16-bit mono WAV at 22.05 kHz, the format of MIREX. openSMILE is included if it is installed.
"""

# ruff: noqa: E402 - the libraries read their number of threads when they are imported
from __future__ import annotations

import os

for _name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM"):
    os.environ[f"{_name}_THREADS"] = "1"

import argparse
import importlib.util
import random
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import librosa
import numpy as np
import scipy.fft
import soundfile

from mirex_submission.features import audio
from mirex_submission.features.modulation_views import MEL_GRID, VQT_GRID
from mirex_submission.features.views import OWN, vectors_of_blocks, view_spec

PROJECT = Path(__file__).resolve().parent.parent
RATE_HZ = 22050
FORMATS = {".wav", ".flac", ".mp3", ".ogg", ".opus"}


def ours(*names):
    specs = [view_spec(name, RATE_HZ) for name in names]
    return lambda path: np.concatenate(
        [rows[0] for rows in vectors_of_blocks(audio.Recording(path, rate_hz=RATE_HZ), specs)]
    )


# The prototype: the definition written down with NumPy, SciPy and librosa, one filter at a time.


def prototype(path):
    samples = librosa.load(path, sr=RATE_HZ)[0]
    samples = samples + np.float32(1e-6) * np.random.default_rng(0).standard_normal(len(samples), np.float32)
    mel = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=1024, hop_length=256, n_mels=96, fmin=20.0)
    vqt = librosa.vqt(
        samples, sr=RATE_HZ, hop_length=512, fmin=32.703, n_bins=168, bins_per_octave=24, gamma=12
    )  # fmt: skip
    of_mel = energies(np.log1p(1e4 * mel / 512), RATE_HZ / 256, MEL_GRID)
    return np.concatenate([of_mel, energies(np.log1p(300 * np.abs(vqt)), RATE_HZ / 512, VQT_GRID)])


def energies(levels, frame_rate_hz, grid):
    n_bands, n_frames = levels.shape
    padded = [scipy.fft.next_fast_len(n + more) for n, more in zip(levels.shape, (32, 64), strict=True)]
    before = [(n - size) // 2 for n, size in zip(padded, levels.shape, strict=True)]
    margins = [(b, n - size - b) for b, n, size in zip(before, padded, levels.shape, strict=True)]
    spectrum = scipy.fft.fft2(np.pad(levels, margins, mode="reflect"))
    of_bands = scipy.fft.fftfreq(padded[0])[:, None]
    of_frames = scipy.fft.fftfreq(padded[1], 1 / frame_rate_hz)
    numbers = []
    for rate, scale in grid.filters:
        deviation = 0.35 * abs(rate) or 0.12
        # The bin at half the frame rate is neither an upward nor a downward modulation.
        bins = np.flatnonzero((np.abs(of_frames - rate) <= 3 * deviation) & (2 * np.abs(of_frames) < frame_rate_hz))
        bins = bins[np.argsort(of_frames[bins])]
        gains = np.exp(-(((of_bands - scale) / (0.35 * scale or 0.012)) ** 2) / 2)
        gains = gains * np.exp(-(((of_frames[bins] - rate) / deviation) ** 2) / 2)
        moduli = np.abs(scipy.fft.ifft2(spectrum[:, bins] * gains)) * (len(bins) / padded[1])
        first, last = (int(np.ceil(k * len(bins) / padded[1])) for k in (before[1], before[1] + n_frames))
        moduli = moduli[before[0] : before[0] + n_bands, first : max(last, first + 1)]
        numbers += [x.reshape(grid.n_regions, -1).mean(axis=1) for x in (moduli.mean(axis=1), moduli.std(axis=1))]
    return np.log(np.array(numbers).T.ravel() + 1e-5)


def svm_statistics():
    """Return the function that computes the features of examples/svm_submission."""
    file = PROJECT / "examples/svm_submission/svm_submission.py"
    spec = importlib.util.spec_from_file_location("svm_submission", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: module.statistics(module.waveform(path))


def opensmile_features():
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.ComParE_2016, opensmile.FeatureLevel.Functionals)
    return lambda path: smile.process_file(path).to_numpy()[0]


def contenders():
    made = {
        "both views": ours(*OWN[:2]),
        "mel-modulation": ours(OWN[0]),
        "vqt-modulation": ours(OWN[1]),
        "decoding alone": lambda path: audio.decode(path, rate_hz=RATE_HZ).samples,
        "prototype of both views": prototype,
        "librosa statistics (examples/svm_submission)": svm_statistics(),
    }
    if importlib.util.find_spec("opensmile"):
        made["openSMILE, ComParE 2016"] = opensmile_features()
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    sources = sorted(path for path in args.audio.rglob("*") if path.suffix.lower() in FORMATS)
    sources = sources[:: max(1, len(sources) // args.clips)][: args.clips]
    made, rng = contenders(), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{k}.wav" for k in range(len(sources))]
        for source, path in zip(sources, paths, strict=True):
            soundfile.write(path, audio.decode(str(source), rate_hz=RATE_HZ).samples, RATE_HZ, subtype="PCM_16")
        difference = max(np.abs(made["both views"](path) - prototype(path)).max() for path in paths)
        for contender in made.values():
            contender(paths[0])  # loads libraries, compiles, and makes filters
        times_ms = defaultdict(list)
        for _ in range(args.rounds):
            for path in paths:
                for name in rng.sample(list(made), len(made)):
                    started_s = time.process_time()
                    made[name](path)
                    times_ms[name, path].append(1e3 * (time.process_time() - started_s))
        seconds = statistics.mean(soundfile.info(path).duration for path in paths)
    figures = {name: statistics.mean(statistics.median(times_ms[name, path]) for path in paths) for name in made}
    print(f"{len(paths)} clips of {seconds:.1f} s, {args.rounds} rounds; CPU ms per clip, decoding included\n")
    print(f"{'':46}{'ms':>8}{'/ours':>8}{'/prototype':>12}")
    for name, ms in figures.items():
        print(f"{name:46}{ms:8.1f}{ms / figures['both views']:8.2f}{ms / figures['prototype of both views']:12.2f}")
    print(f"\nlargest absolute difference between both views and the prototype: {difference:.1e}")


if __name__ == "__main__":
    main()
