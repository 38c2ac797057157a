#!/usr/bin/env python3
"""Synthesise a small labelled corpus and write its MIREX lists, to try the submission without any data.

    synthetic_corpus.py OUT [--clips 12] [--seconds 15] [--seed 0]

Four styles differ in timbre, harmony and rhythm; every clip has its own key, tempo, melody, mix, equalisation and
noise. OUT gets audio/ (16-bit WAV at 22.05 kHz mono, every fourth clip at 44.1 kHz stereo), features.txt, train.txt,
test.txt and truth.txt (a third of each style's clips are held out for the test).
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

MAJOR, MINOR, PENTATONIC = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10)


def midi_hz(note):
    return 440.0 * 2.0 ** ((note - 69) / 12)


def note_of(scale, degree, root):
    """Return the MIDI note of a degree of a scale; degrees continue in the next octaves."""
    octave, step = divmod(degree, len(scale))
    return root + 12 * octave + scale[step]


class Clip:
    """A waveform to which sounds are added at given times in seconds."""

    def __init__(self, rng, seconds, rate_hz):
        self.rng, self.rate_hz = rng, rate_hz
        self.y = np.zeros(int(seconds * rate_hz))
        self.seconds = seconds

    def put(self, start_s, sound, gain=1.0):
        start = int(start_s * self.rate_hz)
        room = self.y[start : start + len(sound)]
        room += gain * sound[: len(room)]

    def tone(self, hz, seconds, partials, *, attack_s=0.01, decay_s=None, vibrato_hz=0.0):
        """Make a tone of `hz` from partials (gains of 1st, 2nd, ...); higher ones decay faster; None: no decay."""
        t = np.arange(int(seconds * self.rate_hz)) / self.rate_hz
        bend = 0.006 * np.sin(2 * np.pi * vibrato_hz * t + self.rng.uniform(0, 6)) / max(vibrato_hz, 1)
        y = np.zeros(len(t))
        for k, gain in enumerate(partials, start=1):
            if k * hz < self.rate_hz / 2:
                fade = np.exp(-t * (1 + 0.4 * k) / decay_s) if decay_s else 1.0
                y += gain * fade * np.sin(2 * np.pi * k * hz * (t + bend) + self.rng.uniform(0, 6))
        release = np.minimum(1, (seconds - t) / 0.05)
        return y * np.minimum(1, t / attack_s) * np.clip(release, 0, 1)

    def noise(self, seconds, decay_s):
        n = int(seconds * self.rate_hz)
        return self.rng.normal(size=n) * np.exp(-np.arange(n) / self.rate_hz / decay_s)

    def kick(self):
        t = np.arange(int(0.25 * self.rate_hz)) / self.rate_hz
        return np.sin(2 * np.pi * (50 * t + 8 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)


def chorale(clip):
    """Play slow sustained chords of four voices with vibrato."""
    rng, root, beat_s = clip.rng, clip.rng.integers(43, 55), clip.rng.uniform(0.9, 1.5)
    voice = 1 / np.arange(1, 9) ** rng.uniform(1.0, 1.6)
    for start_s in np.arange(0, clip.seconds, beat_s):
        degree = rng.choice([0, 3, 4, 5])
        for step in (0, 2, 4, 7):
            hz = midi_hz(note_of(MAJOR, degree + step, root))
            clip.put(start_s, clip.tone(hz, beat_s, voice, attack_s=0.12, vibrato_hz=rng.uniform(4.5, 6)), 0.3)


def techno(clip):
    """Play a bass drum on every beat, off-beat hi-hats, and a saw-tooth bass in minor."""
    rng, root, beat_s = clip.rng, clip.rng.integers(33, 44), 60 / clip.rng.uniform(118, 142)
    saw = 1 / np.arange(1, 25)
    pattern = rng.choice([0, 0, 2, 4, 6], 8)
    for n, start_s in enumerate(np.arange(0, clip.seconds, beat_s / 2)):
        if n % 2 == 0:
            clip.put(start_s, clip.kick(), 1.0)
        else:
            clip.put(start_s, clip.noise(0.06, 0.015), 0.25)
        hz = midi_hz(note_of(MINOR, pattern[n % 8], root))
        clip.put(start_s, clip.tone(hz, beat_s / 2.2, saw, decay_s=0.3), 0.35)


def waltz(clip):
    """Play plucked strings in 3/4 time: bass, chord, chord, and a melody."""
    rng, root, beat_s = clip.rng, clip.rng.integers(45, 57), 60 / clip.rng.uniform(130, 190)
    string = 1 / np.arange(1, 13) ** 1.2
    for n, start_s in enumerate(np.arange(0, clip.seconds, beat_s)):
        degree = (0, 3, 4, 0)[n // 3 % 4]
        steps = (-7,) if n % 3 == 0 else (0, 2, 4)
        for step in steps:
            hz = midi_hz(note_of(MAJOR, degree + step, root))
            clip.put(start_s, clip.tone(hz, 0.6, string, decay_s=0.25), 0.35)
        if rng.random() < 0.7:
            hz = midi_hz(note_of(MAJOR, degree + rng.integers(5, 12), root))
            clip.put(start_s, clip.tone(hz, 0.7, string, decay_s=0.4), 0.4)


def bells(clip):
    """Play inharmonic bells without a beat, on a pentatonic scale over a drone."""
    rng, root = clip.rng, clip.rng.integers(48, 60)
    clip.put(0, clip.tone(midi_hz(root - 12), clip.seconds, 1 / np.arange(1, 7) ** 1.5, attack_s=0.5), 0.3)
    start_s = 0.0
    while start_s < clip.seconds:
        hz = midi_hz(note_of(PENTATONIC, rng.integers(5, 14), root))
        for ratio, gain in ((0.5, 0.4), (1.0, 1.0), (1.19, 0.7), (1.56, 0.5), (2.0, 0.6), (2.66, 0.4), (3.76, 0.2)):
            clip.put(start_s, clip.tone(hz * ratio, 2.0, [gain], attack_s=0.003, decay_s=1.2 / ratio), 0.3)
        start_s += rng.exponential(0.35) + 0.08


STYLES = (chorale, techno, waltz, bells)


def synthesise(style, seed, seconds, rate_hz, channels):
    """Synthesise one clip, float [n, channels], peak 0.7, with random equalisation and noise 6 to 20 dB below it."""
    rng = np.random.default_rng([seed, STYLES.index(style)])
    clip = Clip(rng, seconds, rate_hz)
    style(clip)
    tilt = rng.uniform(-0.5, 0.5)
    dry = clip.y + tilt * np.concatenate([[0.0], clip.y[:-1]])
    level = np.sqrt(np.mean(dry**2)) * 10 ** (-rng.uniform(6, 20) / 20)
    y = np.stack([dry * rng.uniform(0.7, 1) + level * rng.normal(size=len(dry)) for _ in range(channels)], axis=1)
    return 0.7 * y / np.abs(y).max()


def write_corpus(out, *, n_clips=12, seconds=15.0, seed=0):
    """Write the audio and the lists; return {name of a list: its path}."""
    out = Path(out).absolute()
    lines = {"features": [], "train": [], "test": [], "truth": []}
    for style in STYLES:
        for k in range(n_clips):
            rate_hz, channels = (44100, 2) if k % 4 == 3 else (22050, 1)
            path = out / "audio" / style.__name__ / f"{style.__name__}_{k:02d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, synthesise(style, seed * 1000 + k, seconds, rate_hz, channels), rate_hz, "PCM_16")
            lines["features"].append(f"{path}\n")
            if k % 3 == 2:
                lines["test"].append(f"{path}\n")
                lines["truth"].append(f"{path}\t{style.__name__}\n")
            else:
                lines["train"].append(f"{path}\t{style.__name__}\n")
    paths = {name: out / f"{name}.txt" for name in lines}
    for name, path in paths.items():
        path.write_text("".join(lines[name]), encoding="utf-8")
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=12, help="clips of each style")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each clip")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    write_corpus(args.out, n_clips=args.clips, seconds=args.seconds, seed=args.seed)


if __name__ == "__main__":
    main()
