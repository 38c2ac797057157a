#!/usr/bin/env python3
"""A MIREX train/test submission in one file: statistics of librosa's features and an RBF support vector machine.

    svm_submission.py extract  [-numThreads N] SCRATCH FEATURELIST
    svm_submission.py train    [-numThreads N] SCRATCH TRAINLIST
    svm_submission.py classify [-numThreads N] SCRATCH TESTLIST OUTPUT

extractFeatures.sh, train.sh and classify.sh call this file. It needs librosa, scikit-learn, joblib, soundfile and
numpy, but not mirex_submission. C and gamma are chosen by cross-validation within the training list; test tracks are
not used. If the folder of the list has a file groups.txt (lines of path<TAB>group; a group is an artist or album), all
tracks of a group stay in the same inner fold. MIREX has no such file: without it, tracks count as independent.
"""

import argparse
import hashlib
import itertools
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

# One thread per process: the number of processes is -numThreads. NumPy reads this when it is loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import joblib
import numpy as np

FEATURES = "features-1"  # increase the number when the features change, so that old files are not used
RATE_HZ = 22050
SHORTEST_S, LONGEST_S = 3, 120  # shorter clips are repeated; of longer clips only the beginning is used
GRID = {"svc__C": 2.0 ** np.arange(5), "svc__gamma": 2.0 ** np.arange(-10, -6)}  # about 1 and 1 / number of features


def waveform(path):
    """Read a file as mono at RATE_HZ, float32 [n]."""
    import librosa
    import soundfile

    with soundfile.SoundFile(path) as file:
        y = file.read(LONGEST_S * file.samplerate, dtype="float32", always_2d=True).mean(axis=1)
        y = librosa.resample(y, orig_sr=file.samplerate, target_sr=RATE_HZ)
    if not np.isfinite(y).all() or np.abs(y).max(initial=0) < 1e-4:
        raise ValueError("silent, empty, or contains NaN or infinite samples")
    return np.resize(y, max(len(y), SHORTEST_S * RATE_HZ))


def statistics(y):
    """Compute means and standard deviations over time of librosa's features of a waveform, float32 [190]."""
    import librosa

    magnitude = np.abs(librosa.stft(y))
    decibels = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=RATE_HZ))
    mfcc = librosa.feature.mfcc(S=decibels, n_mfcc=20)
    onset = librosa.onset.onset_strength(S=decibels, sr=RATE_HZ)
    tempogram = librosa.feature.tempogram(onset_envelope=onset, sr=RATE_HZ)
    edges = np.geomspace(8, len(tempogram), 13).astype(int)  # 12 bands of lags from 0.2 to 9 s
    rows = [
        mfcc,
        librosa.feature.delta(mfcc),
        librosa.feature.delta(mfcc, order=2),
        librosa.feature.spectral_contrast(S=magnitude, sr=RATE_HZ),
        librosa.feature.chroma_stft(S=magnitude**2, sr=RATE_HZ, tuning=0.0),
        librosa.feature.zero_crossing_rate(y),
        librosa.feature.spectral_rolloff(S=magnitude, sr=RATE_HZ),
        np.log(librosa.feature.spectral_flatness(S=magnitude)),
        np.log1p(onset)[None],
        np.stack([tempogram[a:b].max(axis=0) for a, b in itertools.pairwise(edges)]),
    ]
    return np.concatenate([f(row, axis=1) for row in rows for f in (np.mean, np.std)]).astype(np.float32)


def store_statistics(path, stored):
    """Write the statistics of one file to `stored`; an empty array if it is unreadable."""
    try:
        row = statistics(waveform(path))
    except Exception as error:  # noqa: BLE001 - an error in one file must not stop the others
        print(f"{path}: unreadable: {error}", file=sys.stderr, flush=True)
        row = np.zeros(0, np.float32)
    write(stored, lambda file: np.save(file, row))


def extract(paths, scratch, threads):
    """Return the statistics of all files, {path: float32 [190], or [0]}; stored ones are read from SCRATCH."""
    stored = {}
    for path in dict.fromkeys(paths):
        try:
            about = os.stat(path)
            made_of = f"{os.path.abspath(path)}\0{about.st_size}\0{about.st_mtime_ns}"
        except (OSError, ValueError) as error:
            made_of = f"{path}: {error}"  # another key than that of the file, which may exist later
        stored[path] = scratch / FEATURES / f"{hashlib.sha256(made_of.encode()).hexdigest()}.npy"
    missing = [path for path, file in stored.items() if not file.exists()]
    if missing:
        with tempfile.TemporaryDirectory(dir=scratch / "tmp") as cache:
            # Processes that fill one cache of numba's together can leave in it what crashes (numba issue 10128): this
            # process fills one before there are others. Without a cache of our own it lies beside librosa's sources.
            os.environ.setdefault("NUMBA_CACHE_DIR", cache)
            statistics(np.random.default_rng(0).normal(size=SHORTEST_S * RATE_HZ).astype(np.float32))
            tasks = (joblib.delayed(store_statistics)(path, stored[path]) for path in missing)
            joblib.Parallel(n_jobs=threads)(tasks)
    rows = {path: np.load(file) for path, file in stored.items()}
    n_unreadable = sum(not len(row) for row in rows.values())
    if n_unreadable:
        print(f"{n_unreadable} of {len(rows)} tracks are unreadable", file=sys.stderr)
    return rows


def train(tracks, group_of, scratch, threads):
    """Choose C and gamma, and store them with the training features: classify fits the same machine again."""
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    rows = extract([path for path, _ in tracks], scratch, threads)
    readable = [(path, label) for path, label in tracks if len(rows[path])]
    labels = np.array([label for _, label in readable])
    if len(set(labels)) < 2:
        sys.exit("training needs readable tracks of at least 2 classes")
    features = np.stack([rows[path] for path, _ in readable])
    groups = [group_of.get(path, path) for path, _ in readable]
    n_groups = min(len({g for g, x in zip(groups, labels, strict=True) if x == label}) for label in set(labels))
    chosen = {"svc__C": 8.0, "svc__gamma": 2.0**-8}
    if n_groups >= 2:
        folds = StratifiedGroupKFold(min(5, n_groups), shuffle=True, random_state=0)
        search = GridSearchCV(machine(), GRID, cv=folds, n_jobs=threads, refit=False)
        chosen = search.fit(features, labels, groups=groups).best_params_
        shown = ", ".join(f"{name.removeprefix('svc__')} {value:g}" for name, value in chosen.items())
        print(f"{search.best_score_:.1%} correct in {folds.n_splits} inner folds with {shown}", file=sys.stderr)
    write(scratch / "model.npz", lambda file: np.savez(file, features=features, labels=labels, **chosen))


def classify(paths, scratch, threads):
    """Predict a label for each path; an unreadable track gets the most frequent training label."""
    if not (scratch / "model.npz").exists():
        sys.exit(f"{scratch}: no model: run train.sh with this scratch folder first")
    with np.load(scratch / "model.npz") as model:
        labels = model["labels"]
        parameters = {name: float(model[name]) for name in GRID}
        fitted = machine().set_params(**parameters).fit(model["features"], labels)
    rows = extract(paths, scratch, threads)
    usual = Counter(labels.tolist()).most_common(1)[0][0]
    return [fitted.predict(rows[path][None])[0] if len(rows[path]) else usual for path in paths]


def machine():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(class_weight="balanced"))


def lines(path):
    with open(path, encoding="utf-8-sig") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def pairs(path):
    """Return (path, label) of each line; the label follows the last tab."""
    rows = [tuple(line.rsplit("\t", 1)) for line in lines(path)]
    if any(len(row) < 2 for row in rows):
        sys.exit(f"{path}: a line has no tab: write path<TAB>label")
    return rows


def write(path, fill):
    """Write a file atomically, because another process may read it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        fill(file)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("call", choices=["extract", "train", "classify"])
    parser.add_argument("-numThreads", type=int, default=min(4, joblib.cpu_count()), metavar="N")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("list", type=Path)
    parser.add_argument("output", type=Path, nargs="?")
    args = parser.parse_intermixed_args()
    if (args.call == "classify") != bool(args.output):
        parser.error("classify takes SCRATCH TESTLIST OUTPUT, extract and train take SCRATCH LIST")
    scratch = args.scratch.absolute()
    (scratch / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ["JOBLIB_TEMP_FOLDER"] = str(scratch / "tmp")  # the default, /dev/shm, is small in a container
    if args.call == "extract":
        extract(lines(args.list), scratch, args.numThreads)
    elif args.call == "train":
        groups = args.list.parent / "groups.txt"
        train(pairs(args.list), dict(pairs(groups)) if groups.exists() else {}, scratch, args.numThreads)
    else:
        paths = lines(args.list)
        output = [f"{p}\t{x}\n" for p, x in zip(paths, classify(paths, scratch, args.numThreads), strict=True)]
        write(args.output, lambda file: file.write("".join(output).encode("utf-8")))


if __name__ == "__main__":
    main()
