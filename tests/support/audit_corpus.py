"""Small corpora for audits: clips with different notes, and lists of folds over any files."""

import numpy as np
import soundfile

RATE_HZ = 22050


def clip(seed, seconds=8.0, *, rate_hz=RATE_HZ):
    """Synthesise random notes over faint noise, float [n]; each seed gives another piece of music."""
    rng = np.random.default_rng(seed)
    y = 0.01 * rng.normal(size=int(seconds * rate_hz))
    start_s = 0.0
    while start_s < seconds - 0.1:
        t = np.arange(int(0.8 * rate_hz)) / rate_hz
        hz = 220 * 2 ** (rng.integers(0, 30) / 12)
        note = sum(np.sin(2 * np.pi * hz * k * t + rng.uniform(0, 6)) / k for k in (1, 2, 3)) * np.exp(-5 * t)
        room = y[int(start_s * rate_hz) :][: len(note)]
        room += note[: len(room)]
        start_s += rng.uniform(0.1, 0.4)
    return 0.6 * y / np.abs(y).max()


def write_mp3(path, y, kbps=64, rate_hz=RATE_HZ):
    """Write MPEG 2 layer 3 at a constant bit rate."""
    level = 1 - (kbps - 8) / (160 - 8)
    soundfile.write(path, y, rate_hz, "MPEG_LAYER_III", format="MP3", bitrate_mode="CONSTANT", compression_level=level)


def write_folds(folder, tested):
    """Write lists of folds; tested : {fold: {path: label}} of the test tracks; the other tracks are for training."""
    folder.mkdir(exist_ok=True)
    labels = {path: label for tracks in tested.values() for path, label in tracks.items()}
    (folder / "features.txt").write_text("".join(f"{path}\n" for path in labels))
    for name, tracks in tested.items():
        trained = {path: label for path, label in labels.items() if path not in tracks}
        (folder / f"{name}.test.txt").write_text("".join(f"{path}\n" for path in tracks))
        for part, listed in (("train", trained), ("truth", tracks)):
            (folder / f"{name}.{part}.txt").write_text("".join(f"{path}\t{label}\n" for path, label in listed.items()))
    return folder
