#!/usr/bin/env python3
"""Time log-Mel features [n_frames, 40], from audio file to array, against librosa, other libraries and a lower bound.

    extraction.py --audio DIR [--clips N] [--rounds N] [--groups N]

Figures are CPU milliseconds per clip (time.process_time) on one thread: the mean over the clips of the medians over the
rounds. In every round, every contender gets every clip, in random order.

The clips below DIR are grouped by format, rate and channels. The main group is 22.05 kHz mono WAV, which all contenders
run. If DIR has no such file, or no 22.05 kHz mono MP3, one is made from the first clip. The floor (lower bound) of a
group is the sum of the parts that any program needs with the packages of the default installation, each timed alone on
the data of the clip: reading (16-bit files as int16), the fastest real FFT in float32, and the fastest Mel product. The
difference of a contender is the largest one from a float64 DFT, in log10 units, over cells within 80 dB of the loudest
band of their frame.
"""

# ruff: noqa: E402 - the libraries read their number of threads when they are imported
from __future__ import annotations

import os

for _name in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "NUMBA_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
    os.environ[f"{_name}_THREADS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import argparse
import contextlib
import functools
import importlib.metadata
import itertools
import json
import random
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.fftpack
import scipy.sparse
import soundfile
import soxr

from mirex_submission.features import audio, kernel
from mirex_submission.features.filterbank import mel_filterbank
from mirex_submission.features.logmel import FLOOR, librosa_band_powers, log_mel
from mirex_submission.features.spec import FeatureSpec, own_working_rate

PACKAGES = ("numpy", "scipy", "soundfile", "soxr", "librosa", "audioflux", "tensorflow", "torch", "essentia", "nnaudio")
SEGMENTS, SECONDS = 30, 30
OURS, LIBROSA, SEGMENTWISE = "ours", "librosa, whole file", f"librosa, {SEGMENTS} segments"
DECODING, READING, FLOOR_SUM = "soundfile.read float32", "floor: reading", "floor: reading + FFT + Mel"
FFT_BLOCKS = (32, 128, 512, 2048)  # frames per call: from a block that fits into the cache to the whole clip
MEL_GROUPS = (5, 10, 20)  # numbers of groups of neighbouring bands, each a product over the bins that they cover


# Contenders: each function takes the spec and the module of a library, and returns the function of a path to time.


def ours(spec, *_):
    return lambda path: log_mel(audio.decode(path, rate_hz=spec.rate_hz).samples, spec)


def librosa_mel(spec, librosa, *, segments=False):
    def features(path):
        samples = librosa.load(path, sr=spec.rate_hz)[0]
        starts = segment_starts(1 + (len(samples) - spec.window) // spec.hop, spec) if segments else ()
        pieces = [samples[spec.hop * start :][: spec.segment_samples] for start in starts] or [samples]
        mel = functools.partial(librosa.feature.melspectrogram, window="hann", center=False, **sizes(spec))
        return np.concatenate([np.log10(np.maximum(mel(y=piece), FLOOR)) for piece in pieces], axis=1).T

    return features


def sizes(spec):
    return {"sr": spec.rate_hz, "n_fft": spec.window, "hop_length": spec.hop, "n_mels": spec.n_bands}


def segment_starts(n_frames, spec):
    """Draw starts in whole hops, so that the reference has the same frames."""
    return np.random.default_rng(0).integers(0, n_frames - spec.n_frames, SEGMENTS, endpoint=True)


def audioflux_bft(spec, audioflux):
    """Set up the closest features of audioflux: it has only powers of two (2048 for 1536) and another Mel scale."""
    af = audioflux.type
    kinds = {"scale_type": af.SpectralFilterBankScaleType.MEL, "data_type": af.SpectralDataType.POWER}
    kinds |= {"normal_type": af.SpectralFilterBankNormalType.BAND_WIDTH, "window_type": af.WindowType.HANN}
    size = {"num": spec.n_bands, "radix2_exp": spec.window.bit_length(), "slide_length": spec.hop}
    transform = audioflux.BFT(samplate=spec.rate_hz, low_fre=0.0, high_fre=spec.rate_hz / 2, **size, **kinds)
    transform._is_created = False  # prevents its destructor, which crashes when the other libraries are loaded
    return lambda path: np.log10(np.maximum(transform.bft(read_float(path), result_type=1), np.float32(FLOOR))).T


def tensorflow_signal(spec, tf):
    tf.config.set_visible_devices([], "GPU")
    filters = tf.constant(mel_filterbank(spec.rate_hz, spec.window, spec.n_bands).T)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # one graph for every length
    def transform(samples):
        spectrum = tf.signal.stft(samples, spec.window, spec.hop, fft_length=spec.window)
        power = (tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))) @ filters
        return tf.math.log(tf.maximum(power, FLOOR)) * np.float32(1 / np.log(10))

    return lambda path: transform(read_float(path)).numpy()


def torch_stft(spec, torch):
    window = torch.hann_window(spec.window)
    filters = torch.from_numpy(mel_filterbank(spec.rate_hz, spec.window, spec.n_bands))

    def power(samples):
        spectrum = torch.stft(samples, spec.window, spec.hop, window=window, center=False, return_complex=True)
        re, im = torch.view_as_real(spectrum).unbind(-1)
        return filters @ (re.square() + im.square())  # faster than abs()

    return torch_features(power)


def nnaudio_mel(spec, nnaudio):
    layer = nnaudio.MelSpectrogram(**sizes(spec), center=False, fmax=spec.rate_hz / 2, verbose=False)
    return torch_features(lambda samples: layer(samples)[0])


def torch_features(power):
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)

    @torch.inference_mode()
    def features(path):
        return power(torch.from_numpy(read_float(path))).clamp_(min=FLOOR).log10_().T.numpy()

    return features


def essentia_streaming(spec, es):
    """Set up essentia's streaming network with its own loader, which is faster than a Python loop over frames."""
    essentia = es.essentia
    whole = {"startFromZero": True, "lastFrameToEndOfFile": False, "validFrameThresholdRatio": 1}
    slaney = {"warpingFormula": "slaneyMel", "weighting": "linear", "normalize": "unit_tri", "type": "magnitude"}
    size = {"inputSize": spec.window // 2 + 1, "numberBands": spec.n_bands, "sampleRate": spec.rate_hz}
    pool, loader, power = essentia.Pool(), es.MonoLoader(), es.PowerSpectrum(size=spec.window)
    cutter = es.FrameCutter(frameSize=spec.window, hopSize=spec.hop, silentFrames="keep", **whole)
    window = es.Windowing(type="hann", normalized=False, symmetric=False, zeroPhase=False)
    mel = es.MelBands(
        highFrequencyBound=spec.rate_hz / 2, **slaney, **size
    )  # "magnitude": do not square the power again
    loader.audio >> cutter.signal
    cutter.frame >> window.frame
    window.frame >> power.signal
    power.powerSpectrum >> mel.spectrum
    mel.bands >> (pool, "mel")

    def features(path):
        pool.clear()
        loader.configure(filename=path, sampleRate=spec.rate_hz)
        essentia.reset(loader)
        essentia.run(loader)
        return np.log10(np.maximum(pool["mel"], np.float32(FLOOR)))

    return features


def without_resampling(path):
    """Compute 22.05 kHz features from 44.1 kHz samples: the same window in seconds, and only bins below 11,025 Hz."""
    samples, low = audio.decode(path).samples, FeatureSpec(22050)
    weights = kernel.hann(2 * low.window) * np.float32(0.5)  # twice the samples make four times the power
    weights = weights * np.float32(2.0**-15) if samples.dtype == np.int16 else weights
    slopes, *sides = kernel._slopes(low.mel)
    sides = [np.pad(side, (0, low.window // 2)) for side in sides]  # the bins above have weight 0
    mel = np.empty((1 + (len(samples) - 2 * low.window) // (2 * low.hop), low.n_bands), np.float32)
    is_int16, roots, lanes = samples.dtype == np.int16, kernel._roots(2 * low.window), kernel.LANES[-1]
    kernel.compiled.band_powers(samples, is_int16, 2 * low.hop, weights, roots, slopes, *sides, mel, lanes)
    return np.log10(np.maximum(mel, np.float32(FLOOR)))


def read_float(path):
    return soundfile.read(path, dtype="float32")[0]


CONTENDERS = {OURS: ("numpy", ours), LIBROSA: ("librosa", librosa_mel)}  # for every group
PEERS = {  # for the main group only
    SEGMENTWISE: ("librosa", functools.partial(librosa_mel, segments=True)),
    "audioflux": ("audioflux", audioflux_bft),
    "tf.signal": ("tensorflow", tensorflow_signal),
    "torch.stft": ("torch", torch_stft),
    "essentia": ("essentia.streaming", essentia_streaming),
    "nnAudio": ("nnAudio.features", nnaudio_mel),
}
STEPS = {
    DECODING: ("soundfile", lambda *_: read_float),
    "librosa.load": ("librosa", lambda spec, librosa: functools.partial(librosa.load, sr=spec.rate_hz)),
    "ours: decode, mono": ("soundfile", lambda *_: audio.decode),
    "ours: decode, mono, resample": ("soxr", lambda spec, _: functools.partial(audio.decode, rate_hz=spec.rate_hz)),
}
LOW_RATE = {"at 22.05 kHz: resampled": ours(FeatureSpec(22050)), "at 22.05 kHz: window 3072": without_resampling}


def cpu_ms(function, *args, **kwargs):
    start = time.process_time()
    function(*args, **kwargs)
    return (time.process_time() - start) * 1000


def fft_ms(transform, in_place, block, frames):
    """Time only the transform; an in-place transform gets a new copy of each block, which is not timed."""
    blocks = (frames[start : start + block] for start in range(0, len(frames), block))
    return sum(cpu_ms(transform, np.array(rows) if in_place else rows, axis=1) for rows in blocks)


def floor_jobs(spec):
    """Return several ways to compute each part of the floor, named "family, variant"; the fastest one is shown."""
    jobs = {READING: lambda clip: cpu_ms(soundfile.read, clip.path, dtype=clip.read_dtype)}
    in_place = functools.partial(scipy.fftpack.rfft, overwrite_x=True)
    ffts = {"scipy.fft": (scipy.fft.rfft, False), "scipy.fftpack": (in_place, True), "numpy.fft": (np.fft.rfft, False)}
    with contextlib.suppress(ImportError):  # optional, for information only
        ffts["mkl_fft (not in the default install)"] = (importlib.import_module("mkl_fft").rfft, False)
    for (library, way), block in itertools.product(ffts.items(), FFT_BLOCKS):
        jobs[f"FFT: {library}, {block} frames a call"] = lambda clip, a=(*way, block): fft_ms(*a, clip.frames)
    filters = mel_filterbank(spec.rate_hz, spec.window, spec.n_bands)
    sparse = scipy.sparse.csr_array(filters)
    jobs["Mel, scipy.sparse"] = lambda clip: cpu_ms(sparse.__matmul__, clip.power_transposed)
    for n in MEL_GROUPS:
        bins = [slice(*np.flatnonzero(rows.any(axis=0))[[0, -1]] + (0, 1)) for rows in np.array_split(filters, n)]
        groups = [(b, rows[:, b].T.copy()) for b, rows in zip(bins, np.array_split(filters, n), strict=True)]
        jobs[f"Mel, BLAS on {n} groups of bands"] = lambda clip, g=groups: cpu_ms(banded_product, clip.power, g)
    return jobs


def banded_product(power, groups):
    return np.hstack([power[:, bins] @ weights for bins, weights in groups])


class Clip:
    """A clip: its path, the reference features, and the data for the parts of the floor."""

    def __init__(self, path, spec):
        self.path, info = str(path), soundfile.info(path)
        samples = soundfile.read(path, dtype="float64", always_2d=True)[0].mean(axis=1)
        if info.samplerate != spec.rate_hz:
            samples = soxr.resample(samples, info.samplerate, spec.rate_hz)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
        frames = np.lib.stride_tricks.sliding_window_view(samples, spec.window)[:: spec.hop]
        power = np.abs(np.fft.rfft(frames * window)) ** 2
        # Our own filters: if they were wrong, the difference of librosa would show it.
        mel = power @ mel_filterbank(spec.rate_hz, spec.window, spec.n_bands).T.astype(np.float64)
        self.reference = np.log10(np.maximum(mel, FLOOR))
        self.segments = np.concatenate(
            [self.reference[k : k + spec.n_frames] for k in segment_starts(len(frames), spec)]
        )
        self.decoded = audio.decode(self.path, rate_hz=spec.rate_hz).samples
        self.frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float32), spec.window)[:: spec.hop]
        self.power = power.astype(np.float32)
        self.power_transposed = np.ascontiguousarray(self.power.T)
        self.read_dtype = "int16" if info.subtype == "PCM_16" else "float32"


def differences(features, reference):
    """Return |features - reference| for the common frames; NaN more than 80 dB below the loudest band of a frame."""
    n = min(len(features), len(reference))  # a longer window gives fewer frames
    is_audible = reference[:n] > reference[:n].max(axis=1, keepdims=True) - 8
    return np.where(is_audible, np.abs(features[:n] - reference[:n]), np.nan)


def measure(jobs, clips, rounds):
    times, order = defaultdict(list), random.Random(0)
    for _, k in itertools.product(range(rounds), range(len(clips))):
        for name in order.sample(list(jobs), len(jobs)):
            times[name, k].append(jobs[name](clips[k]))
    return {name: statistics.fmean(statistics.median(times[name, k]) for k in range(len(clips))) for name in jobs}


def measure_group(title, native_hz, paths, args, *, best):
    """Measure and print one group; best: the fastest ways of the main group's floor, or None for the main group."""
    spec = FeatureSpec(own_working_rate(native_hz))
    clips, jobs, missing, largest = [Clip(path, spec) for path in paths], {}, {}, {}
    for name, (module, prepare) in (CONTENDERS | ({} if best else PEERS) | STEPS).items():
        try:
            run = prepare(spec, importlib.import_module(module))
        except ImportError as error:
            missing[name] = str(error)
            continue
        jobs[name] = lambda clip, run=run: cpu_ms(run, clip.path)
        if name in CONTENDERS | PEERS:
            pairs = [(run(clip.path), clip.segments if name == SEGMENTWISE else clip.reference) for clip in clips]
            largest[name] = max(float(np.nanmax(differences(*pair))) for pair in pairs)
    if native_hz == 44100:
        jobs |= {name: lambda clip, run=run: cpu_ms(run, clip.path) for name, run in LOW_RATE.items()}
    jobs["ours: log-Mel"] = lambda clip: cpu_ms(log_mel, clip.decoded, spec)
    powers = {"librosa (no compiled kernel)": librosa_band_powers}
    powers |= {f"compiled kernel, {n} at a time": functools.partial(kernel.band_powers, lanes=n) for n in kernel.LANES}
    for way, run in powers.items():
        jobs[f"ours: band powers, {way}"] = lambda clip, run=run: cpu_ms(run, clip.decoded, spec.mel)
    ways = floor_jobs(spec)
    jobs |= {name: ways[name] for name in (READING, *best)} if best else ways
    measure(jobs, clips, 1)  # warms up
    rounds = max(1, args.rounds * args.clips // len(clips))  # more rounds if a group has fewer clips
    ms = measure(jobs, clips, rounds)

    families = defaultdict(list)
    for name in ms:
        families[name.split(",")[0] if name.startswith(("FFT", "Mel")) else name].append(name)
    fastest = [min(names, key=ms.get) for names in families.values()]
    best = [min((n for n in fastest if n.startswith("FFT") and "not in" not in n), key=ms.get), fastest[-1]]
    ms[FLOOR_SUM] = ms[READING] + sum(ms[name] for name in best)
    head = f"{title}. Working rate {spec.rate_hz} Hz, {len(clips)} clip(s)"
    print(f"\n{head} of {len(clips[0].frames)} frames of {spec.window} samples, {rounds} rounds.\n")
    print(f"{'':58}{'ms':>8}{'/ours':>7}{'/librosa':>9}{'/floor':>7}  difference")
    for name in [*fastest, FLOOR_SUM]:
        ratios = (ms[name] / ms.get(other, np.nan) for other in (OURS, LIBROSA, FLOOR_SUM))
        shown = "{:8.2f}{:7.2f}{:9.2f}{:7.2f}".format(ms[name], *ratios)
        print(f"{name:58}{shown}{f'{largest[name]:12.1e}' if name in largest else ''}")
    for name, reason in missing.items():
        print(f"{name:58}not installed ({reason})")
    result = {"clips": len(clips), "rounds": rounds, "ms": ms, "difference": largest, "not_installed": missing}
    if native_hz == 44100:
        result["at 22.05 kHz"] = print_low_rate(clips)
    return result, best


def print_low_rate(clips):
    """Compare the two ways from 44.1 kHz to 22.05 kHz features; they differ in the bands at the resampler's edge."""
    resampled, direct = LOW_RATE.values()
    cells = np.concatenate([differences(direct(clip.path), resampled(clip.path)) for clip in clips]).T
    parts = {"bands 1 to 36": cells[:36]} | {f"band {band + 1}": cells[band] for band in range(36, 40)}
    result = {label: [float(np.nanmax(part)), float(np.nanmedian(part))] for label, part in parts.items()}
    print("\nLargest and median difference between the two ways at 22.05 kHz, over the same cells as above:")
    print(*(f"  {label:14}{pair[0]:8.1e}{pair[1]:10.1e}" for label, pair in result.items()), sep="\n")
    return result


def goal_lines(ms, goals):
    rivals = [(min((name for name in names if name in ms), key=ms.get, default=""), goal) for names, goal in goals]
    return [f"ours / {name}: {ms[OURS] / ms[name]:.2f}, goal: {goal}" for name, goal in rivals if name]


def find_groups(folder):
    """Return {(format, rate, channels): paths}, largest group first, without short files and other files."""
    groups = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with contextlib.suppress(RuntimeError, TypeError):  # soundfile's errors for files that are not audio
            info = soundfile.info(path)
            if info.duration >= 3:
                groups[info.format, info.samplerate, info.channels].append(path)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, metavar="DIR")
    parser.add_argument("--clips", type=int, default=5, help="clips of each group, default %(default)s")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, default %(default)s")
    parser.add_argument("--groups", type=int, default=3, help="other groups than 22.05 kHz mono, default %(default)s")
    args = parser.parse_args()
    groups = find_groups(args.audio)
    if not groups:
        parser.error(f"{args.audio}: no audio of 3 s or more")
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name.lower() in PACKAGES}
    print(f"One thread; {', '.join(' '.join(item) for item in versions.items())}")
    results, best = {}, None
    wanted = [("WAV", 22050, 1), ("MP3", 22050, 1)]
    wanted += [key for key in groups if key not in wanted][: args.groups]
    with tempfile.TemporaryDirectory() as folder:
        for key in wanted:
            title, paths = "{}, {} Hz, {} channel(s)".format(*key), groups.get(key, [])
            paths = paths[:: max(1, len(paths) // args.clips)][: args.clips]
            if not paths:
                first = next(iter(groups.values()))[0]
                paths, title = [Path(folder, f"made.{key[0].lower()}")], f"{title}, made from {first.name}"
                samples = audio.decode(str(first), rate_hz=22050).samples[: SECONDS * 22050]
                soundfile.write(paths[0], samples, 22050, format=key[0])  # WAV: 16 bits
            goals = [(PEERS, "below 1"), ([LIBROSA], "at most 0.30"), ([FLOOR_SUM], "at most 1.25")] * (best is None)
            goals += [([DECODING], "at most 1.20")] * (key[0] == "MP3")
            result, best = measure_group(title, key[1], paths, args, best=best)
            result["goals"] = goal_lines(result["ms"], goals)
            results[title] = result
            print("".join(f"\n{line}" for line in result["goals"]), flush=True)
    print("""
Figures are CPU milliseconds per clip. Compare only ratios within one run: on a shared machine, the milliseconds of two
runs can differ by half. The floor does not include windowing, squaring, log10, mixing and resampling. A difference of
1e-5 is float32 rounding, a difference of 1 is another definition of the features. The cost of resampling is "decode,
mono, resample" minus "decode, mono".""")
    print(json.dumps({"versions": versions, "groups": results}))


if __name__ == "__main__":
    main()
