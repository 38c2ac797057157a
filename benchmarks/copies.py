#!/usr/bin/env python3
"""Measure how many altered copies of clips the audit finds, and how often it reports different clips as copies.

    copies.py [AUDIO_DIR] [--clips 40] [--seconds 10] [--seed 0] [--threads 2]

Without AUDIO_DIR the clips come from examples/synthetic_corpus.py. For each alteration and each start time, all clips
and their altered copies are compared with each other, as in `audit`. Each row shows the number of copies found, and the
number of pairs of different clips that are reported as copies.
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

from mirex_submission.evaluation.audit.copies import match

STARTS_S = (0.0, 1.234, 5.0)


def as_mp3(kbps):
    def write(path, y, hz):
        low, high = (8, 160) if hz < 32000 else (32, 320)  # lowest and highest bit rate of MPEG 2 and MPEG 1
        level = min(1 - (kbps - low) / (high - low), 0.999)
        options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": level}
        soundfile.write(path, y, hz, "MPEG_LAYER_III", **options)

    return write


def as_wav(alter):
    def write(path, y, hz):
        soundfile.write(path, *alter(y, hz), "PCM_16", format="WAV")

    return write


def resampled(rate_hz):
    return lambda y, hz: (soxr.resample(y, hz, rate_hz), rate_hz)


def low_passed(edge_hz):
    return lambda y, hz: (scipy.signal.sosfiltfilt(scipy.signal.butter(8, edge_hz, fs=hz, output="sos"), y), hz)


def with_noise(db):
    def alter(y, hz):
        noise = np.random.default_rng(0).normal(size=len(y))
        return y + noise * np.sqrt(np.mean(y**2)) * 10 ** (-db / 20), hz

    return alter


ALTERATIONS = {
    "unaltered": as_wav(lambda y, hz: (y, hz)),
    "MP3, 64 kbit/s": as_mp3(64),
    "MP3, 32 kbit/s": as_mp3(32),
    "6 dB louder, clipped": as_wav(lambda y, hz: (np.clip(2 * y / np.abs(y).max(), -1, 1), hz)),
    "20 dB softer": as_wav(lambda y, hz: (0.1 * y, hz)),
    "44,100 Hz": as_wav(resampled(44100)),
    "8,000 Hz": as_wav(resampled(8000)),
    "low pass of 4 kHz": as_wav(low_passed(4000)),
    "white noise 20 dB below": as_wav(with_noise(20)),
    "first half": as_wav(lambda y, hz: (y[: len(y) // 2], hz)),
    "3 s of it": as_wav(lambda y, hz: (y[: 3 * hz], hz)),
    "stereo, a second of silence before": as_wav(lambda y, hz: (np.stack([np.append(np.zeros(hz), y)] * 2, 1), hz)),
    "1 % faster": as_wav(lambda y, hz: (soxr.resample(y, hz, hz / 1.01), hz)),
}


def write_clips(folder, audio, n_clips, seconds, seed):
    """Write the clips to alter; return their paths."""
    if audio:
        files = sorted(path for path in Path(audio).rglob("*") if path.suffix in (".wav", ".flac", ".mp3", ".ogg"))
        files = np.random.default_rng(seed).permutation(np.array(files, object))[:n_clips]
        clips = (soundfile.read(path, always_2d=True) for path in files)
        clips = ((y.mean(axis=1), hz) for y, hz in clips)
    else:
        clips = ((synthesise(STYLES[k % 4], seed * 1000 + k, seconds, 22050, 1)[:, 0], 22050) for k in range(n_clips))
    paths = []
    for k, (y, hz) in enumerate(clips):
        paths.append(folder / f"{k}.wav")
        soundfile.write(paths[-1], y[: int(seconds * hz)], hz, "PCM_16")
    return paths


def measure(folder, paths, write, start_s, threads):
    """Return the number of copies found, and the number of pairs of different clips reported as copies."""
    copies = [folder / f"{path.stem}.copy" for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        y, hz = soundfile.read(path)
        write(copy, y[int(start_s * hz) :], hz)
    matches, unreadable = match([str(path) for path in (*paths, *copies)], folder, threads)
    assert not unreadable
    pairs = {frozenset((Path(a).stem, Path(b).stem)) for a, of_a in matches.items() for b in of_a}
    n_found = sum(str(copy) in matches.get(str(path), {}) for path, copy in zip(paths, copies, strict=True))
    return n_found, sum(len(pair) == 2 for pair in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="?", metavar="AUDIO_DIR")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = write_clips(folder, args.audio, args.clips, args.seconds, args.seed)
        n_pairs = len(paths) * (len(paths) - 1) // 2
        print(f"{'altered copy':36}" + "".join(f"  from {start_s:5.3f} s" for start_s in STARTS_S), flush=True)
        for name, write in ALTERATIONS.items():
            cells = (measure(folder, paths, write, start_s, args.threads) for start_s in STARTS_S)
            row = "".join(f"  {n_found:4d}/{len(paths)} {n_false:3d}" for n_found, n_false in cells)
            print(f"{name:36}{row}", flush=True)
        print(f"first number: copies found; last: of {n_pairs:,} pairs of different clips, those reported as copies")


if __name__ == "__main__":
    main()
