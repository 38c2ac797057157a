#!/usr/bin/env python3
"""Compute the results of the program on a small synthetic corpus, and write them into goldens.json beside this file.

    make.py                all parts, the slow ones too: two minutes
    make.py PART ...       these parts only; the rest of goldens.json stays

Run it by hand if a golden has to change on purpose, or on another type of machine, to add its platform.
test_goldens.py computes the same results and compares. goldens.json has

    exact        {part: {name: value}}, equal everywhere
    samples      {part: {name: rounded numbers}}, equal everywhere within TOLERANCES
    platforms    the SHA-256 of the complete floating-point results, for each platform that has run this

It stores no sentences of the program: only names, numbers, bytes and exit statuses.
"""

import argparse
import contextlib
import csv
import hashlib
import importlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
import threadpoolctl

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
if str(PROJECT / "examples") not in sys.path:
    sys.path.insert(0, str(PROJECT / "examples"))
from synthetic_corpus import STYLES, synthesise, write_corpus  # noqa: E402

# All imports of internal names: if something moves in the package, change it here only. Everything else uses the
# scripts of bin/, `python -m mirex_submission`, and log_mel, which is public.
import mirex_submission  # noqa: E402
from mirex_submission.features.clip import log_mel  # noqa: E402
from mirex_submission.features.spec import FeatureSpec  # noqa: E402
from mirex_submission.features.store import read_file  # noqa: E402
from mirex_submission.networks.epoch import draw_kept  # noqa: E402
from mirex_submission.training.recipe import Recipe  # noqa: E402
from mirex_submission.training.segments import make_epoch, segment_starts  # noqa: E402


def an_epoch(n, number, **recipe):
    """Make an epoch of n segments, only for its order and its dropout."""
    return make_epoch(np.zeros((1, 1)), np.zeros(n), np.zeros(n), Recipe(**recipe), n_frames=1, number=number)


KERNELS = ("mirex_submission.features._kernel", "mirex_submission.networks._kernel")  # compiled modules with LANES

GOLDENS = HERE / "goldens.json"
RATES_HZ = (11025, 22050, 44100)
# For the samples, by part: log10 of band powers; weights, losses and probabilities.
TOLERANCES = {"features": 1e-4, "lossy": 0.05, "models": 1e-3, "widths": 1e-3, "recipes": 1e-3}
ONE = ("-numThreads", "1")


@dataclass
class Part:
    """The results of one part of the goldens.

    exact : {name: value}. floats : {name: (SHA-256 of all numbers, samples of them)}; a name may begin with "WAY: ",
    and all ways have the same samples.
    """

    exact: dict = field(default_factory=dict)
    floats: dict = field(default_factory=dict)

    def add(self, name, data, samples):
        self.floats[name] = (sha256(data), [float(f"{x:.7g}") for x in samples])

    @property
    def samples(self):
        """The samples of the first way, as {name without its way: samples}."""
        result = {}
        for name, (_, samples) in self.floats.items():
            result.setdefault(sample_name(name), samples)
        return result

    @property
    def digests(self):
        # librosa's last bits differ between installations: for its frames only the samples are compared.
        return {name: digest for name, (digest, _) in self.floats.items() if not name.startswith("no kernel: ")}


def sample_name(name):
    return name.partition(": ")[2] or name


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# Runs in their own processes.


def environment(**more):
    """Return an environment in which the scripts find this Python and this package, without variables that choose."""
    dropped = ("MIREX_DEVICE", "KERAS_BACKEND", "TF_CONFIG", "PYTHONIOENCODING")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    package = str(Path(mirex_submission.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {**kept, "MIREX_PYTHON": sys.executable, "PYTHONPATH": path, **more}


def command_of(name, *args):
    """Return the command line of a script of bin/ or of a command of the program."""
    start = [str(PROJECT / "bin" / name)] if name.endswith(".sh") else [sys.executable, "-m", "mirex_submission", name]
    return [*start, *map(str, args)]


def call(folder, *words, **env):
    """Run a command in a folder, check that its exit status is 0, and return its stdout."""
    done = subprocess.run(
        command_of(*words), cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{words}: status {done.returncode}\n{done.stderr}"
    return done.stdout


def side_by_side(work, items):
    """Return the results of `work` for all items, computed two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, items))


# The platform, and its ways to compute.


def lanes():
    """Return the vector widths of the compiled kernel, narrowest first; () without a kernel."""
    try:
        return importlib.import_module(KERNELS[0]).LANES
    except ImportError:
        return ()


def platform():
    """Return everything that decides the last bits of a result, apart from the code of this project."""
    compiler = "none"
    with contextlib.suppress(ImportError):
        result = re.search(rb"GCC: \([^)]*\) ([\d.]+)", Path(importlib.import_module(KERNELS[0]).__file__).read_bytes())
        compiler = f"GCC {result[1].decode()}" if result else "unknown"
    blas = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas" and "numpy" in lib["filepath"]]
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    return {
        "lanes": max(lanes(), default=0),
        "compiler": compiler,
        "numpy": np.__version__,
        "simd": [*simd["baseline"], *simd.get("found", ())][-1],
        "blas": " ".join(f"{lib['internal_api']} {lib['version']} {lib.get('architecture')}" for lib in blas),
        "scipy": importlib.import_module("scipy").__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }


NARROWED = f"""
import importlib.abc, importlib.machinery, os, sys

class Narrow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in {KERNELS!r}:
            return None
        most = int(os.environ["GOLDENS_LANES"])
        with open(os.environ["GOLDENS_SEEN"], "a") as seen:
            seen.write(name + "\\n")
        if not most:
            raise ImportError(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            module.LANES = tuple(n for n in module.LANES if n <= most)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Narrow())
"""


@contextlib.contextmanager
def narrowed(most, kernel):
    """Yield the environment of a process whose kernels have at most vector width `most`, or are missing for 0.

    Fails if the process has not loaded this kernel, for example after a renaming.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(NARROWED)
        seen = Path(folder, "seen")
        seen.touch()
        path = os.pathsep.join([folder, environment()["PYTHONPATH"]])
        yield {"PYTHONPATH": path, "GOLDENS_LANES": str(most), "GOLDENS_SEEN": str(seen)}
        assert kernel in seen.read_text().split(), f"{kernel} was not loaded, so its width was not chosen"


# The corpus.


def prepare(folder):
    """Write the corpus and the unusual files; the lists have paths relative to the folder, independent of its name."""
    write_corpus(folder, n_clips=4, seconds=4.0)
    for path in folder.glob("*.txt"):
        path.write_text(path.read_text().replace(f"{folder.absolute()}{os.sep}", ""))
    write_odd(folder / "odd")
    write_lossy(folder / "lossy")
    odd = sorted(f"odd/{path.name}" for path in (folder / "odd").iterdir())
    tests = (folder / "test.txt").read_text().splitlines()
    (folder / "mixed.txt").write_text("".join(f"{path}\n" for path in [*tests, *odd, "odd/missing.wav", tests[0]]))


def write_odd(folder):
    """Write unusual audio: formats, rates, lengths, damaged files."""
    folder.mkdir()
    chorale, techno, waltz, bells = STYLES

    def write(name, style, seed, rate_hz, subtype="PCM_16", *, channels=1, n=None, seconds=3.5):
        y = synthesise(style, seed, seconds, rate_hz, channels)[:n]
        if subtype == "DOUBLE":  # the last bits of sines depend on the processor
            y = np.round(y * 2.0**26) / 2.0**26
        write_wav(folder / f"{name}.wav", y, rate_hz, subtype)
        return y

    write("pcm8", chorale, 101, 22050, "PCM_U8")
    write("pcm24", techno, 102, 22050, "PCM_24")
    y = write("float", waltz, 103, 22050, "FLOAT")
    write("double", bells, 104, 22050, "DOUBLE")
    write("stereo", chorale, 105, 22050, channels=2)
    write("rate44100", techno, 106, 44100)
    write("rate48000", techno, 107, 48000)
    write("rate11025", waltz, 108, 11025)
    write("rate8000", bells, 109, 8000)
    write("short", chorale, 110, 22050, seconds=0.3)
    segment = FeatureSpec(22050).segment_samples
    write("segment", techno, 111, 22050, n=segment)
    write("less", techno, 111, 22050, n=segment - 1)
    write("silent", waltz, 112, 22050)
    soundfile.write(folder / "silent.wav", np.zeros(60000), 22050, "PCM_16")
    write("truncated", bells, 113, 22050)
    whole = (folder / "truncated.wav").read_bytes()
    (folder / "truncated.wav").write_bytes(whole[: len(whole) * 2 // 3])
    y = y.copy()
    y[1000] = np.nan
    write_wav(folder / "nan.wav", y, 22050, "FLOAT")
    # For these clips, the mean of the segments' probabilities and the majority vote give different classes.
    for first, second, seed, seconds in (
        (techno, chorale, 140, 3.5),
        (waltz, bells, 130, 3.3),
        (chorale, bells, 150, 3.3),
    ):
        halves = [synthesise(first, seed, seconds, 22050, 1), synthesise(second, seed + 1, 6.0 - seconds, 22050, 1)]
        write_wav(folder / f"{first.__name__}_{second.__name__}.wav", np.concatenate(halves), 22050, "PCM_16")
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no audio at all\n" * 100)


def write_wav(path, y, rate_hz, subtype):
    """Write a WAV file without the time stamp that libsndfile puts into the PEAK chunk of float files."""
    soundfile.write(path, y, rate_hz, subtype)
    data = bytearray(path.read_bytes())
    peak = data.find(b"PEAK", 0, 200)
    if peak > 0:
        data[peak + 12 : peak + 16] = bytes(4)
        path.write_bytes(data)


def write_lossy(folder):
    """Write files that libsndfile encodes; another version may encode and decode them differently."""
    folder.mkdir()
    y = synthesise(STYLES[2], 120, 3.5, 22050, 1)
    soundfile.write(folder / "clip.flac", y, 22050, "PCM_16")
    soundfile.write(folder / "clip.ogg", y, 22050, "VORBIS")
    soundfile.write(folder / "clip.mp3", y, 22050, "MPEG_LAYER_III")


def corpus(folder):
    """Hash the bytes of the audio: if these differ, nothing else can be equal."""
    part = Part()
    for path in sorted([*folder.glob("audio/*/*.wav"), *folder.glob("odd/*.wav")]):
        part.exact[str(path.relative_to(folder))] = sha256(path.read_bytes())
    return part


# Features.


def features(folder):
    """Compute frames of unusual files, of a clip of each style and of waveforms, in all ways of this processor."""
    paths = [*folder.glob("odd/*.wav"), *folder.glob("audio/*/*_00.wav"), *folder.glob("audio/*/*_03.wav")]
    part = frames_by_all_ways(folder, paths, waveforms=True)
    # The stored features equal the result of log_mel.
    paths = sorted(str(path.relative_to(folder)) for path in paths)
    (folder / "stored.txt").write_text("".join(f"{path}\n" for path in paths))
    call(folder, "extractFeatures.sh", *ONE, "--rate", "22050", "stored", "stored.txt")
    files = list((folder / "stored/features").rglob("*.logmel"))
    part.exact["stored: folder"] = sorted({path.parent.parent.name for path in files})
    part.exact["stored: files"] = len(files)
    widest = way_of(max(lanes(), default=0))
    computed = {part.digests.get(f"{widest}: 22050 Hz {path}") for path in paths} - {None}
    stored = {sha256(path.read_bytes().split(b"\n", 2)[2]) for path in files}
    # librosa's last bits depend on the blocks of a clip and on the number of threads.
    part.exact["stored: are what log_mel gives"] = stored == computed if lanes() else all(map(is_near_log_mel, files))
    return part


def is_near_log_mel(file):
    """Return True if stored frames equal those of log_mel within the tolerance of the features."""
    header, frames = read_file(file)
    return near(frames.ravel(), log_mel(header.path, working_rate_hz=22050).ravel(), TOLERANCES["features"])


def lossy(folder):
    """Compute frames of encoded files; they depend on libsndfile's version, so the samples are means of bands."""
    return frames_by_all_ways(folder, folder.glob("lossy/*"), means=True)


def frames_by_all_ways(folder, paths, **options):
    """Compute frames by the kernel at each width and without a kernel, each in its own process."""
    asked = json.dumps({"paths": sorted(str(path.relative_to(folder)) for path in paths), **options})

    def frames_by(most):
        with narrowed(most, KERNELS[0]) as env:
            command = [sys.executable, str(HERE / "make.py"), "--frames", asked]
            done = subprocess.run(command, cwd=folder, env=environment(**env), capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    part, ways = Part(), (*lanes()[::-1], 0)
    for most, result in zip(ways, side_by_side(frames_by, ways), strict=True):
        way = way_of(most)
        # Shapes and types of errors must be equal in all ways.
        assert not part.exact or result["exact"] == part.exact, f"{way}: other shapes or errors"
        part.exact = result["exact"]
        part.floats |= {f"{way}: {name}": tuple(pair) for name, pair in result["floats"].items()}
    return part


def way_of(most):
    return f"lanes {most}" if most else "no kernel"


def frames(*, paths, waveforms=False, means=False):
    """Compute frames of these files at each rate, in this process."""
    part = Part()
    for rate_hz in RATES_HZ:
        sources = {path: ((path,), {}) for path in paths}
        if waveforms:
            wave = np.random.default_rng(5).integers(-20000, 20000, 70000)
            sources["waveform int16"] = ((wave.astype(np.int16), 22050), {})
            sources["waveform float32"] = ((wave.astype(np.float32) / 32768, 32000), {})
            sources["waveform of 96 bands, 60 frames"] = (
                (wave.astype(np.int16), 44100),
                {"n_bands": 96, "n_frames": 60},
            )
        for source, (args, options) in sources.items():
            name = f"{rate_hz} Hz {source}"
            try:
                result = mirex_submission.log_mel(*args, working_rate_hz=rate_hz, **options)
            except Exception as error:  # noqa: BLE001 - the type of the error is compared
                part.exact[name] = type(error).__name__
                continue
            part.exact[name] = [str(result.dtype), *result.shape]
            # Higher bands may be above the band limit of the file, where the values are only rounding errors.
            some = result[:, [0, 4, 9, 14]]
            some = some.mean(axis=0, dtype=float) if means else some[[0, len(some) // 3, -1]].ravel()
            part.add(name, np.ascontiguousarray(result).tobytes(), some)
    return part


# Segments.


def segments(folder):
    """Compute the segments of each track and epoch, their order, and the units that dropout keeps."""
    part = Part()
    contents = [hashlib.sha256(bytes([k])).hexdigest()[:32] for k in range(4)]
    cases = {
        "": {},
        ", seed 7": {"seed": 7},
        ", greatest seed": {"seed": 2**32 - 1},
        ", 5 a track": {"segments_per_track": 5},
    }
    for text, more in cases.items():
        for how in ("random", "consecutive", "fresh"):
            recipe, drawn = Recipe(segments=how, **more), []
            for spec in (*map(FeatureSpec, RATES_HZ), FeatureSpec(22050, 40, 60)):
                for n_frames in (spec.n_frames, spec.n_frames + 1, 163, 860):
                    for content in contents:
                        for epoch in (0, 1, 149):
                            starts = segment_starts(n_frames, content, spec, recipe, epoch=epoch)
                            drawn += [len(starts), *map(int, starts)]
            part.exact[f"starts, {how}{text}"] = [len(drawn), drawn[-3:], hash_of(drawn)]
    for n, batch_size, seed in ((1, 40, 0), (41, 40, 0), (480, 40, 0), (480, 7, 3), (70000, 40, 0)):
        for epoch in (0, 1, 149):
            result = [list(map(int, batch)) for batch in an_epoch(n, epoch, batch_size=batch_size, seed=seed).batches()]
            sizes = [len(result), len(result[-1])]
            name = f"batches of {batch_size} from {n}, seed {seed}, epoch {epoch}"
            part.exact[name] = [sizes, result[0][:3], hash_of([number for batch in result for number in batch])]
    for seed, epoch in ((0, 0), (0, 149), (2**32 - 1, 1)):
        kept = [draw_kept(rng, n) for rng in [an_epoch(1, epoch, seed=seed).dropout_rng()] for n in (40, 7)]
        digest = sha256(b"".join(np.packbits(item).tobytes() for item in kept))
        part.exact[f"dropout, seed {seed}, epoch {epoch}"] = [list(item.shape) for item in kept] + [digest]
    return part


def hash_of(numbers):
    return sha256(",".join(map(str, numbers)).encode())


# Models.

TRAININGS = {name: ("--model", name) for name in ("1", "2", "3", "all")}
CLASSIFICATIONS = {
    "1": ("1",),
    "2": ("2",),
    "3": ("3",),
    "all": ("all",),
    "all, majority": ("all", "--vote", "majority"),
    "2 of all, majority": ("all", "--model", "2", "--vote", "majority"),
}


def models(folder):
    """Compute the weights after 3 epochs of each model, and its predictions for a test list with bad audio."""
    part = Part()

    def classify(name):
        trained, *options = CLASSIFICATIONS[name]
        words = [*ONE, *options, "--probabilities", f"{name}.csv", f"model {trained}", "mixed.txt", f"{name}.txt"]
        call(folder, "classify.sh", *words)

    longest_first = reversed(TRAININGS)
    side_by_side(lambda name: train(folder, f"model {name}", *TRAININGS[name]), longest_first)
    side_by_side(classify, CLASSIFICATIONS)
    for name in TRAININGS:
        add_model(part, folder, f"model {name}")
    for name in CLASSIFICATIONS:
        table = (folder / f"{name}.csv").read_bytes()
        header, *rows = csv.reader(io.StringIO(table.decode()))
        part.exact[f"predictions by {name}"] = (folder / f"{name}.txt").read_bytes().decode().splitlines()
        part.exact[f"table by {name}"] = [header, len(rows)]
        part.add(f"probabilities by {name}", table, [float(x) for row in rows[::5] for x in row[2:]])
    return part


def train(folder, scratch, *options, epochs=3, **env):
    words = [*ONE, "--no-picture", "--epochs", epochs, *options, scratch, "train.txt"]
    call(folder, "train.sh", *words, **env)


def add_model(part, folder, scratch, *, way=""):
    """Add all arrays of the weights of the model in this scratch folder, and the contents of its bundle."""
    model = folder / scratch / "model"
    # The bundle is JSON and a line with its checksum.
    text = (model / "bundle.json").read_text(encoding="utf-8")
    bundle = json.JSONDecoder().raw_decode(text[text.index("{") :])[0]
    part.exact[f"{scratch}: classes"] = bundle["classes"]
    part.exact[f"{scratch}: spec"] = bundle["spec"]
    part.exact[f"{scratch}: recipe"] = bundle["recipe"]
    part.exact[f"{scratch}: tracks"] = hash_of([[track["label"], track["content"]] for track in bundle["tracks"]])
    part.exact[f"{scratch}: epochs"] = {network: len(epochs) for network, epochs in bundle["history"].items()}
    for network, file in bundle["weights"].items():
        with np.load(model / file) as arrays:
            part.exact[f"{scratch}, network {network}: arrays"] = {name: list(arrays[name].shape) for name in arrays}
            for name in arrays:
                array = arrays[name]
                some = [array.mean(dtype=float), array.std(dtype=float), *array.ravel()[[0, array.size // 2, -1]]]
                part.add(f"{way}{scratch}, network {network}, {name}", array.tobytes(), some)
        history = [[epoch["loss"], epoch["accuracy"]] for epoch in bundle["history"][network]]
        part.add(f"{way}{scratch}, network {network}, history", repr(history).encode(), np.ravel(history))


def widths(folder):
    """Compute weights with each narrower vector width of this processor."""
    part = Part()
    for most in lanes()[:-1]:
        for name in ("1", "2", "3"):
            with narrowed(most, KERNELS[1]) as env:
                shutil.rmtree(folder / f"narrow {name}", ignore_errors=True)
                train(folder, f"narrow {name}", "--model", name, **env)
            add_model(part, folder, f"narrow {name}", way=f"lanes {most}: ")
    return part


RECIPES = {
    "fresh": ("--segments", "fresh", "--segments-per-track", "9", "--seed", "5"),
    "consecutive": ("--segments", "consecutive", "--class-weights", "balanced", "--batch-size", "7"),
    "patient": ("--patience", "1", "--learning-rate", "0.1"),
    "rate 11025": ("--rate", "11025", "--bands", "48", "--frames", "100"),
    "rate 44100": ("--rate", "44100", "--model", "1"),
}


def recipes(folder):
    """Compute weights of trainings with other options than the paper's."""
    part = Part()
    side_by_side(lambda name: train(folder, name, *RECIPES[name], epochs=4), RECIPES)
    for name in RECIPES:
        add_model(part, folder, name)
    return part


# Evaluation.

LABELS = ("Rock/Pop", "Hip-Hop", "R&B", "drum and bass", "rock pop", "Ärger", "!!!")


def write_evaluation(folder):
    """Write the truth of 3 folds with unusual labels and names, and outputs of 3 systems: good, faulty, incomplete."""
    rng = random.Random(3)
    for name in ("truth", "good", "odd", "lazy"):
        (folder / name).mkdir(parents=True)
    for k in (1, 2, 3):
        tracks = [(f"music/fold{k}/track{n:02}.wav", LABELS[n % (5 + k % 3)]) for n in range(14)]
        tracks += [
            (f"music/fold{k}/with space.wav", "R&B"),
            (f"other/fold{k}/track03.mp3", "Hip-Hop"),
            ("a/b.wav", "R&B"),
        ]
        right = [(path, label if rng.random() < 0.7 else rng.choice(LABELS)) for path, label in tracks]
        odd = [(path, label if rng.random() < 0.5 else rng.choice(LABELS)) for path, label in tracks]
        odd[0] = (odd[0][0], "polka")  # an unknown label
        odd[1] = (odd[1][0], "HIP hop")  # the evaluator normalises it to a known label
        odd[2] = (Path(odd[2][0]).name, odd[2][1])  # only the name
        odd = [*odd[:5], *odd[7:], odd[3], ("music/unknown.wav", "R&B")]  # missing, repeated and unknown tracks
        write_labelled(folder / f"truth/fold{k}.truth.txt", tracks)
        write_labelled(folder / f"good/fold{k}.txt", right)
        lines = "".join(f"{path}\t{label}\n" for path, label in odd)
        (folder / f"odd/fold{k}.txt").write_text(f"{lines}{odd[4][0]}\nmusic/fold{k}/track09.wav R&B\n\n", "utf-8")
        if k == 1:
            write_labelled(folder / f"lazy/fold{k}.txt", [(path, "Hip-Hop") for path, _ in tracks])
    (folder / "lazy/fold2.txt").touch()


def write_labelled(path, tracks):
    path.write_text("".join(f"{track}\t{label}\n" for track, label in tracks), encoding="utf-8")


def evaluation(folder):
    """Compute all files of evaluations, without versions, commands, absolute paths and sentences."""
    part = Part()
    place = folder / "evaluation"
    write_evaluation(place)
    systems = [word for name in ("good", "odd", "lazy") for word in ("--system", f"{name}={name}")]
    calls = {"three": systems, "alone": ["--system", "odd=odd", "--seed", "9"]}
    side_by_side(lambda out: call(place, "evaluate", "--truth", "truth", *calls[out], "--out", out), calls)
    for out in calls:
        part.exact[f"{out}: files"] = sorted(
            str(p.relative_to(place / out)) for p in (place / out).rglob("*") if p.is_file()
        )
        for path in sorted((place / out).rglob("*.csv")):
            part.exact[f"{out}: {path.name}"] = path.read_bytes().decode().split("\n")
        for path in sorted((place / out).glob("*/report.txt")):
            # Without the list of problems at the end, which are sentences.
            text = path.read_bytes()
            part.exact[f"{out}: {path.relative_to(place / out)}"] = sha256(text[: text.rindex(b"=" * 80)])
        results = json.loads((place / out / "results.json").read_bytes())
        assert results.pop("versions") and results.pop("command")
        results = neutral(results, f"{place.resolve()}{os.sep}")
        for key, value in results.items():
            part.exact[f"{out}: results.json, {key}"] = hash_of([json.dumps(value)]) if key == "folds" else value
    return part


def neutral(value, root):
    """Return a record without absolute paths and sentences, and with numbers of nine digits."""
    if isinstance(value, dict):
        # Only whether there is a warning, not its text.
        return {
            key: bool(item) if key == "warning" else neutral(item, root)
            for key, item in value.items()
            if key not in ("found", "evaluator", "counted")
        }
    if isinstance(value, list):
        return [neutral(item, root) for item in value]
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return value.replace(root, "") if isinstance(value, str) else value


def folds(folder):
    """Compute folds with groups, without groups, and several repeats."""
    part = Part()
    place = folder / "folds"
    place.mkdir()
    write_table(place)
    calls = {
        "groups": ("--group", "artist"),
        "no groups": ("--folds", "4", "--seed", "3"),
        "repeats": ("--repeat", "2", "--group", "artist", "--seed", "1"),
    }
    side_by_side(lambda out: call(place, "folds", "table.tsv", *calls[out], "--out", out), calls)
    for out in calls:
        for path in sorted((place / out).iterdir()):
            text = path.read_bytes().decode().replace(f"{place.resolve()}{os.sep}", "")
            part.exact[f"{out}: {path.name}"] = [text.count("\n"), sha256(text.encode())]
    return part


def write_table(folder):
    rng = random.Random(8)
    rows = [f"audio/track{n:02}.wav\t{rng.choice('abc')}\tartist {rng.randrange(25)}" for n in range(40)]
    (folder / "audio").mkdir()
    for n in range(40):
        (folder / f"audio/track{n:02}.wav").touch()
    (folder / "table.tsv").write_text("\n".join(["path\tlabel\tartist", *rows]) + "\n")


# Exit statuses.


def write_calls(folder):
    """Write a folder for runs: audio, correct and wrong lists, a model, damaged models, an evaluation, submissions."""
    folder.mkdir()
    write_evaluation(folder / "judged")
    write_table(folder)
    names = []
    for k, style in enumerate(STYLES[:2] * 3):
        names.append(f"{'ab'[k % 2]}{k}.wav")
        soundfile.write(folder / names[-1], synthesise(style, 200 + k, 0.6, 11025, 1), 11025, "PCM_16")
    soundfile.write(folder / "silent.wav", np.zeros(9000), 11025, "PCM_16")
    (folder / "text.wav").write_text("no audio")
    (folder / "file").touch()
    (folder / "folder").mkdir()
    labelled = [f"{name}\t{name[0]}" for name in names]
    lists = {
        "features": names,
        "train": labelled[:4],
        "test": names[4:],
        "truth": labelled[4:],
        "fewbad": [*names, "text.wav"],
        "silence": [*names, "silent.wav"],
        "bad": [names[4], "text.wav", "silent.wav", "missing.wav"],
        "missing": ["nowhere.wav", "nowhere2.wav"],
        "twice": [*names, names[0]],
        "trainbad": [*labelled, "text.wav\ta"],
        "trainworse": [*labelled[:4], "silent.wav\ta", "text.wav\tb"],
        "trainclass": [*labelled, "text.wav\tc"],
        "tab": labelled,
        "notab": [*labelled[:2], names[2]],
        "emptylabel": [*labelled[:2], f"{names[2]}\t"],
        "conflict": [*labelled, f"{names[0]}\tb"],
        "oneclass": labelled[::2],
        "empty": [],
        "nul": [f"{names[0]}\0"],
        "groups": [f"{name}\t{name}" for name in names],
        "wrongout": [f"{names[4]}\tpolka", "x.wav\ta"],
    }
    for name, lines in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    (folder / "latin.txt").write_bytes("Müsik.wav\n".encode("latin-1"))
    (folder / "nolabel.tsv").write_text("path\tartist\na.wav\tb\n")
    shutil.copytree(folder / "judged/good", folder / "perfect")
    (folder / "wrongfolds").mkdir()
    (folder / "wrongfolds/fold1.test.txt").write_text("other.wav\n")

    call(folder, "train.sh", "-numThreads", "1", "--no-picture", "--model", "1", "--epochs", "1", "s", "train.txt")
    for name, pattern in (
        ("badbundle", "bundle.json"),
        ("badweights", "*.weights.npz"),
        ("noweights", "*.weights.npz"),
    ):
        shutil.copytree(folder / "s", folder / name)
        [path] = (folder / name / "model").glob(pattern)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.unlink()
        if name != "noweights":
            path.write_bytes(data)

    (folder / "task").mkdir()
    for part in ("train", "test", "truth"):
        shutil.copy(folder / f"{part}.txt", folder / f"task/fold1.{part}.txt")
        lines = (folder / f"task/fold1.{part}.txt").read_text().splitlines()
        (folder / f"task/fold1.{part}.txt").write_text("".join(f"{folder}/{line}\n" for line in lines))
    (folder / "task/features.txt").write_text("".join(f"{folder}/{name}\n" for name in names))
    scripts = {
        "good": {"classify": 'sed "s/$/\\ta/" "$4" >"$5"'},
        "failing": {"classify": "exit 5"},
        "partial": {"classify": ': >"$5"'},
    }
    for name, texts in scripts.items():
        (folder / name).mkdir()
        for script in ("extractFeatures", "train", "classify"):
            path = folder / name / f"{script}.sh"
            path.write_text(f"#!/bin/sh\n{texts.get(script, 'exit 0')}\n")
            path.chmod(0o755)


# {name: words of a command in the folder of write_calls}. A word with "$" sets an environment variable, ">" redirects
# stdout, "!" is a signal that is sent once the training has started.
QUICK = (*ONE, "--no-picture", "--model", "1", "--epochs", "1", "--segments-per-track", "2")
STATUSES = {
    # The program.
    "no command": ("mirex-submission.sh",),
    "help": ("mirex-submission.sh", "--help"),
    "version": ("--version",),
    "unknown command": ("dance",),
    "unknown option": ("--dance",),
    "a Python that is none": ("train.sh", "--help", "$MIREX_PYTHON=/nowhere/python"),
    "nobody reads": ("--version", ">closed"),
    "output on a full disk": ("check", "new", "--features", "features.txt", ">/dev/full"),
    "terminated": ("train.sh", *QUICK, "--epochs", "100000", "long.term", "train.txt", "!SIGTERM"),
    # Options.
    "no arguments": ("train.sh",),
    "no epochs": ("train", "--epochs", "0", "new", "train.txt"),
    "a model that is none": ("train", "--model", "4", "new", "train.txt"),
    "a name that is a path": ("train", "--name", "a/b", "new", "train.txt"),
    "no threads": ("extract", "-numThreads", "0", "new", "features.txt"),
    "an empty path": ("extract", "", "features.txt"),
    "a backend that is none": ("train", "new", "train.txt", "$KERAS_BACKEND=nosuch"),
    # Devices: no machine has a hundredth GPU.
    "train without a GPU": ("train.sh", *QUICK, "--device", "gpu:99", "new", "train.txt"),
    # Lists.
    "a missing list": ("extractFeatures.sh", "new", "nowhere.txt"),
    "NUL in a list": ("extract", "new", "nul.txt"),
    "an empty label": ("train.sh", "new", "emptylabel.txt"),
    "one class": ("train", "new", "oneclass.txt"),
    # Audio.
    "extract": ("extractFeatures.sh", *ONE, "x.good", "features.txt"),
    "extract mostly bad tracks": ("extract", *ONE, "x.bad", "bad.txt"),
    "train": ("train.sh", *QUICK, "t.good", "train.txt"),
    "train on a bad track": ("train", *QUICK, "t.bad", "trainbad.txt"),
    "train to a divergence": ("train", *QUICK, "--epochs", "3", "--learning-rate", "1e30", "t.diverged", "train.txt"),
    "train and classify": ("trainAndClassify.sh", *QUICK, "t.both", "train.txt", "test.txt", "out.both"),
    "classify": ("classify.sh", *ONE, "s", "test.txt", "out.good"),
    "classify silence, strict": ("classify", *ONE, "--strict", "s", "silence.txt", "out.strict"),
    "classify mostly bad tracks": ("classify.sh", *ONE, "s", "bad.txt", "out.bad"),
    "features": ("features", "a0.wav"),
    # Models.
    "no model": ("classify.sh", "new", "test.txt", "out.no"),
    "a damaged bundle": ("classify", *ONE, "badbundle", "test.txt", "out.bundle"),
    "a network that was not trained": ("classify", *ONE, "--model", "3", "s", "test.txt", "out.3"),
    # Outputs.
    "an output that is a folder": ("classify.sh", *ONE, "s", "test.txt", "folder"),
    "an output that is the list": ("classify", *ONE, "s", "test.txt", "test.txt"),
    "a read-only scratch folder": ("extractFeatures.sh", *ONE, "/proc/mirex", "features.txt"),
    # Judging.
    "validate": ("validate", "test.txt", "train.txt", "truth.txt"),
    "validate with differences": ("validate", "test.txt", "train.txt", "wrongout.txt"),
    "evaluate a nameless system": ("evaluate", "--truth", "judged/truth", "--system", "perfect", "--out", "e.name"),
    "folds": ("folds", "table.tsv", "--group", "artist", "--out", "f.good"),
    "folds checked, none": ("folds", "table.tsv", "--check", "folder"),
    "check": ("check", "new", "--features", "features.txt", "--train", "train.txt", "--test", "test.txt"),
    "crossval of one that fails": ("crossval", "task", "--scratch", "c.failing", "--submission", "failing"),
    "crossval with options for nobody": (
        "crossval", "task", "--scratch", "c.nobody", "--submission", "good", "--train-options", "x=--y",
    ),
    "completion of no shell": ("completion", "fish"),
    # The program, once more.
    "short help": ("-h",),
    "MIREX's name of train-and-classify": ("trainAndClassify", "--help"),
    "interrupted": ("train", *QUICK, "--epochs", "100000", "long.int", "train.txt", "!SIGINT"),
    "hung up": ("train", *QUICK, "--epochs", "100000", "long.hup", "train.txt", "!SIGHUP"),
    # Options.
    "too many arguments": ("train", "new", "features.txt", "train.txt", "more"),
    "a part of an option": ("train", "--epoch", "2", "new", "train.txt"),
    "epochs that are no number": ("train", "--epochs", "many", "new", "train.txt"),
    "no learning rate": ("train", "--learning-rate", "nan", "new", "train.txt"),
    "no bands": ("train", "--bands", "0", "new", "train.txt"),
    "too few frames": ("train", "--frames", "10", "new", "train.txt"),
    "a model of no package": ("train", "--model", "nosuch", "new", "train.txt"),
    "a seed that is none": ("train", "--seed", "-1", "new", "train.txt"),
    "a share that is none": ("train", "--max-bad", "101", "new", "train.txt"),
    "a time that is none": ("train", "--time-limit", "soon", "new", "train.txt"),
    "groups without patience": ("train", "--groups", "groups.txt", "new", "train.txt"),
    "too many segments": ("train", "--segments-per-track", "100001", "new", "train.txt"),
    "no processes": ("extract", "--jobs", "0", "new", "features.txt"),
    "a scheduler without a cluster": ("extract", "--scheduler", "a:1", "new", "features.txt"),
    "a device twice": ("train", "--device", "gpu:0,0", "new", "train.txt"),
    "hosts that are none": ("train", "new", "train.txt", "$TF_CONFIG=nosuch"),
    # Devices: no machine has a hundredth GPU.
    "classify without a GPU": ("classify", "--device", "gpu:99", "s", "test.txt", "out.gpu"),
    "the environment's device": ("check", "new", "--train", "train.txt", "$MIREX_DEVICE=gpu:99"),
    # Lists.
    "a folder as a list": ("extract", "new", "folder"),
    "an empty list": ("extract", "new", "empty.txt"),
    "tabs in a test list": ("extract", "new", "tab.txt"),
    "a list that is not UTF-8": ("extract", "new", "latin.txt"),
    "two labels of a track": ("train", "new", "conflict.txt"),
    "a wrong list of groups": ("train", "--patience", "1", "--groups", "test.txt", "new", "train.txt"),
    "a missing test list": ("trainAndClassify.sh", *QUICK, "new", "train.txt", "nowhere.txt", "out.none"),
    # Audio.
    "extract a track twice": ("extract", *ONE, "x.twice", "twice.txt"),
    "extract a bad track": ("extract", *ONE, "x.few", "fewbad.txt"),
    "extract a bad track, strict": ("extract", *ONE, "--strict", "x.strict", "fewbad.txt"),
    "extract silence": ("extract", *ONE, "x.silence", "silence.txt"),
    "extract missing tracks": ("extract", *ONE, "x.missing", "missing.txt"),
    "extract a shard, verified, unchecked": (
        "extractFeatures.sh", *ONE, "--shard", "2/3", "--verify", "--no-check", "x.shard", "features.txt",
    ),
    "train with the feature list": ("train.sh", *QUICK, "t.features", "features.txt", "train.txt"),
    "train on a bad track, allowed": ("train", *QUICK, "--max-bad", "20", "t.allowed", "trainbad.txt"),
    "train on a bad track, strict": ("train", *QUICK, "--max-bad", "20", "--strict", "t.strict", "trainbad.txt"),
    "train on a bad class": ("train", *QUICK, "--max-bad", "90", "t.class", "trainclass.txt"),
    "train dry": ("train", *QUICK, "--dry-run", "t.dry", "train.txt"),
    "classify silence": ("classify", *ONE, "s", "silence.txt", "out.silence"),
    "features of nothing": ("features", "nowhere.wav"),
    # Models.
    "no model of the name": ("classify", "--name", "other", "s", "test.txt", "out.name"),
    "damaged weights": ("classify", *ONE, "badweights", "test.txt", "out.weights"),
    "missing weights": ("classify", *ONE, "noweights", "test.txt", "out.noweights"),
    "export in no format": ("export", "s/model"),
    # Outputs.
    "an output below a file": ("classify", *ONE, "s", "test.txt", "file/out"),
    "an output where nothing can be": ("classify", *ONE, "s", "test.txt", "/proc/mirex/out"),
    "an output among the models": ("classify", *ONE, "s", "test.txt", "s/model/out"),
    "an output that is a folder, after training": (
        "trainAndClassify.sh", *QUICK, "new", "train.txt", "test.txt", "folder",
    ),
    "a scratch folder that is a file": ("extract", *ONE, "file", "features.txt"),
    "pictures in a file": ("extract", *ONE, "--plot", "file", "x.plot", "features.txt"),
    # Judging.
    "validate nothing": ("validate", "test.txt", "train.txt", "nowhere.txt"),
    "evaluate": ("evaluate", "--truth", "judged/truth", "--system", "good=judged/good", "--out", "e.good"),
    "evaluate no truth": ("evaluate", "--truth", "nowhere", "--system", "good=judged/good", "--out", "e.no"),
    "evaluate no system": ("evaluate", "--truth", "judged/truth", "--system", "good=nowhere", "--out", "e.none"),
    "evaluate into the outputs": ("evaluate", "--truth", "judged/truth", "--system", "perfect=perfect", "--out", "."),
    "report nothing": ("report", "folder"),
    "folds of nothing": ("folds", "--out", "f.nothing"),
    "folds of no such group": ("folds", "table.tsv", "--group", "album", "--out", "f.group"),
    "folds of no folder": ("folds", "--from-folders", "nowhere", "--out", "f.nowhere"),
    "folds too many": ("folds", "table.tsv", "--folds", "100", "--out", "f.many"),
    "folds checked": ("folds", "table.tsv", "--check", "wrongfolds"),
    "check wrong lists": ("check", "new", "--train", "notab.txt", "--test", "nul.txt"),
    "check bad audio": ("check", "new", "--train", "trainworse.txt"),
    "crossval": ("crossval", "task", "--scratch", "c.good", "--submission", "good"),
    "crossval of one that writes half": ("crossval", "task", "--scratch", "c.partial", "--submission", "partial"),
    "crossval without lists": ("crossval", "folder", "--scratch", "c.folder", "--submission", "good"),
    "crossval of no submission": ("crossval", "task", "--scratch", "c.none", "--submission", "folder"),
    # Of all kinds.
    "evaluate, strict": ("evaluate", "--strict", "--truth", "judged/truth", "--system", "o=judged/odd", "--out", "e.o"),
    "folds of no label": ("folds", "nolabel.tsv", "--out", "f.nolabel"),
    "check without a GPU": ("check", "--device", "gpu:99", "new", "--train", "train.txt"),
    "no tab in a training list": ("train", "new", "notab.txt"),
    "train on bad tracks": ("train", *QUICK, "t.worse", "trainworse.txt"),
    "extract silence, strict": ("extract", *ONE, "--strict", "x.silent", "silence.txt"),
    "a wrong feature list": ("train", "new", "tab.txt", "train.txt"),
    "too many bands": ("train", "--bands", "5000", "new", "train.txt"),
    "another rate": ("train", "--rate", "8000", "new", "train.txt"),
    "a device that is none": ("train", "--device", "tpu", "new", "train.txt"),
    "a shard that is none": ("extract", "--shard", "3/2", "new", "features.txt"),
    "features to a file of no kind": ("features", "a0.wav", "--export", "out.kind"),
    "export no model": ("export", "--format", "tflite", "new/model"),
    "one file for two outputs": ("classify", *ONE, "--probabilities", "out.2", "s", "test.txt", "out.2"),
    "evaluate a name twice": (
        "evaluate", "--truth", "judged/truth", "--system", "a=perfect", "--system", "a=judged/odd", "--out", "e.twice",
    ),
    "MIREX's name of extract": ("extractFeatures", "--help"),
    "an option without its value": ("train", "new", "train.txt", "--epochs"),
    "features of text": ("features", "text.wav"),
    "folds to nowhere": ("folds", "table.tsv"),
    "nobody reads a table": ("folds", "table.tsv", "--out", "out.closed", ">closed"),
}  # fmt: skip


def statuses(folder):
    """Compute the exit statuses of many commands."""
    place = folder / "calls"
    write_calls(place)
    result = side_by_side(lambda words: status_of(place, words), STATUSES.values())
    return Part(exact=dict(zip(STATUSES, result, strict=True)))


def status_of(place, words):
    """Return the exit status of a command, and check that it prints no traceback."""
    args = [word for word in words if word[:1] not in ("$", ">", "!")]
    env = dict(word[1:].split("=", 1) for word in words if word.startswith("$"))
    target = next((word[1:] for word in words if word.startswith(">")), os.devnull)
    number = next((getattr(signal, word[1:]) for word in words if word.startswith("!")), None)
    if target == "closed":
        read, stdout = os.pipe()
        os.close(read)
    else:
        stdout = os.open(target, os.O_WRONLY)
    try:
        process = subprocess.Popen(
            command_of(*args), cwd=place, env=environment(**env), stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE, text=True, preexec_fn=take_signals,
        )  # fmt: skip
    finally:
        os.close(stdout)
    with process:
        try:
            if number:
                until_s = time.monotonic() + 60
                while not (place / args[-2] / "model").exists():
                    assert time.monotonic() < until_s and process.poll() is None, f"{words}: does not begin"
                    time.sleep(0.05)
                process.send_signal(number)
            text = process.communicate(timeout=120)[1]
        finally:
            process.kill()
    assert "Traceback" not in text, f"{words}: {text}"
    return process.returncode


def take_signals():
    """Restore the default signal handlers: a shell makes background processes and their children ignore SIGINT."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


# Options.

COMMANDS = (
    "extract", "train", "classify", "train-and-classify", "explain", "check", "completion", "doctor", "export",
    "pack", "predict", "features", "try", "folds", "validate", "audit", "crossval", "evaluate", "report",
)  # fmt: skip


def options(folder):
    """Return the options and positional arguments of every command, as listed in its help."""
    part = Part()
    overview = call(folder, "mirex-submission.sh", "--help")
    part.exact["commands"] = re.findall(r"^  ([a-z-]+)  ", overview, flags=re.M)
    assert part.exact["commands"] == list(COMMANDS)
    helps = side_by_side(lambda name: call(folder, name, "--help", COLUMNS="300"), COMMANDS)
    part.exact |= {name: listed(text) for name, text in zip(COMMANDS, helps, strict=True)}
    return part


def listed(text):
    """Return the entries of argparse's help: option strings with the names of their values, and positionals."""
    result = []
    for invocation in re.findall(r"^  (\S+(?: \S+)*)", text, flags=re.M):
        strings = re.findall(r"(?:^|(?<= ))--?[A-Za-z][\w-]*", invocation)
        # Python 3.13 names the value once, after all strings of an option; earlier versions name it after each.
        value = invocation.rpartition(strings[-1])[2].strip() if strings else ""
        result.append(" ".join([*strings, value]).strip() if strings else invocation)
    return result


SLOW = (features, lossy, widths, recipes, statuses)  # results of models depend on the features of their tracks
PARTS = {part.__name__: part for part in (corpus, segments, models, evaluation, folds, options, *SLOW)}


# goldens.json.


def read():
    return json.loads(GOLDENS.read_text(encoding="utf-8"))


def digests_of(goldens, name, here):
    """Return the stored digests of a part for this platform, or None if there are none."""
    return next((item["sha256"].get(name) for item in goldens["platforms"] if item["platform"] == here), None)


def differences_of(name, result, goldens, here):
    """Return the differences of a part from goldens.json, one line each."""
    differences = compare("exact", goldens["exact"].get(name, {}), result.exact, lambda a, b: a == b)
    tolerance = TOLERANCES.get(name, 0)
    samples = goldens["samples"].get(name, {})
    for key, (_, values) in result.floats.items():
        stored = {key: samples[sample_name(key)]} if sample_name(key) in samples else {}
        differences += compare("samples", stored, {key: values}, lambda a, b: near(a, b, tolerance))
    if not result.floats:
        differences += compare("samples", samples, {}, lambda a, b: True)
    digests = digests_of(goldens, name, here)
    if digests is not None:
        differences += compare("sha256", digests, result.digests, lambda a, b: a == b)
    return differences


def compare(kind, stored, result, same):
    differences = [f"{kind}: {key!r} is stored, but was not computed" for key in stored if key not in result]
    differences += [f"{kind}: {key!r} was computed, but is not stored" for key in result if key not in stored]
    return differences + [
        f"{kind}: {key!r} is {result[key]!r}, but {stored[key]!r} is stored"
        for key in stored
        if key in result and not same(stored[key], result[key])
    ]


def near(stored, result, tolerance):
    return len(stored) == len(result) and bool(np.allclose(result, stored, rtol=0, atol=tolerance, equal_nan=True))


def merged(goldens, parts, here):
    """Merge these parts into goldens; other platforms keep their digests of parts that have not changed."""
    entry = next((item for item in goldens["platforms"] if item["platform"] == here), None)
    if entry is None:
        entry = {"platform": here, "sha256": {}}
        goldens["platforms"].append(entry)
    for name, result in parts.items():
        known = name in goldens["exact"]
        if not known or differences_of(name, result, goldens, here):
            if known:
                print(f"{name}: the results have changed, so those of other platforms are removed", file=sys.stderr)
            goldens["exact"][name], goldens["samples"][name] = result.exact, result.samples
            for other in goldens["platforms"]:
                other["sha256"].pop(name, None)
        if result.digests:
            entry["sha256"][name] = result.digests
    goldens["platforms"] = [item for item in goldens["platforms"] if item["sha256"]]
    return goldens


def text_of(value, depth=0):
    """Return JSON with one line per key of an object, and lists in one line."""
    if not isinstance(value, dict) or not value or depth > 4:
        if isinstance(value, list) and depth < 3 and value and isinstance(value[0], dict):
            inner = ",\n".join(" " * (depth + 1) + text_of(item, depth + 1) for item in value)
            return f"[\n{inner}\n{' ' * depth}]"
        return json.dumps(value, ensure_ascii=False)
    pad = " " * (depth + 1)
    inner = ",\n".join(
        f"{pad}{json.dumps(key, ensure_ascii=False)}: {text_of(item, depth + 1)}" for key, item in value.items()
    )
    return f"{{\n{inner}\n{' ' * depth}}}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--frames", metavar="JSON", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.frames:
        result = frames(**json.loads(args.frames))
        json.dump({"exact": result.exact, "floats": result.floats}, sys.stdout)
        return
    if set(args.parts) - set(PARTS):
        parser.error(f"parts are {', '.join(PARTS)}")
    goldens = read() if GOLDENS.exists() else {"exact": {}, "samples": {}, "platforms": []}
    parts = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "corpus")
        prepare(place)
        for name in args.parts or PARTS:
            started_s = time.monotonic()
            parts[name] = PARTS[name](place)
            print(f"{name}: {time.monotonic() - started_s:.1f} s", file=sys.stderr)
    GOLDENS.write_text(text_of(merged(goldens, parts, platform())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
