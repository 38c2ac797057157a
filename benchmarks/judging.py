#!/usr/bin/env python3
"""Measure time, memory and file sizes of the commands evaluate, report and folds on large synthetic tasks.

    python benchmarks/judging.py [--only tracks,probabilities,classes,folds] [--work DIR] [--scale S]

tracks          100,000 tracks, 10 classes, 3 folds, 8 systems: evaluate and report
probabilities   the same, each system with a table of probabilities beside its outputs
classes         20,000 tracks, 500 classes, 3 folds, 4 systems
folds           100,000 tracks of 15 classes and 16,000 artists: folds --group artist (the tracks are empty files)

--scale 0.01 uses a hundredth of the tracks and groups, to try the script. On a busy machine, CPU seconds are more
reliable than wall-clock seconds; both include all processes of the command.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def measured(title, *args):
    """Run a command of this program; print its wall-clock and CPU seconds and its peak memory."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "mirex_submission", *map(str, args)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, log
    wall_s, cpu_s = time.perf_counter() - start, used.ru_utime + used.ru_stime
    print(f"{title:24} {wall_s:6.1f} s wall {cpu_s:6.1f} s CPU {used.ru_maxrss / 1024:6.0f} MiB", flush=True)
    return log


def write_task(folder, n_tracks, n_classes, n_systems, *, probabilities):
    """Write truth and outputs of 3 folds, and optional tables of probabilities; return the --system arguments."""
    rng = np.random.default_rng(0)
    labels = [f"genre_{k:03}" for k in range(n_classes)]
    truth, fold = rng.integers(n_classes, size=n_tracks), np.arange(n_tracks) % 3
    paths = [f"/data/audio/{labels[k]}/track_{n:06}.wav" for n, k in enumerate(truth)]

    def write(name, classes):
        (folder / name).mkdir(parents=True)
        for k in range(3):
            lines = [f"{paths[n]}\t{labels[classes[n]]}\n" for n in np.flatnonzero(fold == k)]
            (folder / name / f"fold{k + 1}.txt").write_text("".join(lines))

    write("truth", truth)
    for s in range(n_systems):
        predicted = np.where(rng.random(n_tracks) < 0.5 + 0.04 * s, truth, rng.integers(n_classes, size=n_tracks))
        write(f"system{s}", predicted)
        for k in range(3) if probabilities else ():
            rows = np.flatnonzero(fold == k)
            p = rng.dirichlet(np.full(n_classes, 0.5), len(rows)) + 0.5 * np.eye(n_classes)[predicted[rows]]
            lines = [f"{paths[n]},{','.join(f'{x:.6f}' for x in row / 1.5)}\n" for n, row in zip(rows, p, strict=True)]
            (folder / f"system{s}" / f"fold{k + 1}.csv").write_text(f"path,{','.join(labels)}\n{''.join(lines)}")
    return [word for s in range(n_systems) for word in ("--system", f"system{s}={folder}/system{s}")]


def judge(folder, *sizes, probabilities=False):
    systems = write_task(folder, *sizes, probabilities=probabilities)
    measured(f"{folder.name}: evaluate", "evaluate", "--truth", folder / "truth", *systems, "--out", folder / "out")
    measured(f"{folder.name}: report", "report", folder / "out")
    for name in ("report.html", "results.json", "system0/report.txt"):
        print(f"{'':24} {(folder / 'out' / name).stat().st_size / 1e6:6.2f} MB {name}")


def deal(folder, n_tracks, n_groups):
    rng = np.random.default_rng(0)
    artist, style = rng.integers(n_groups, size=n_tracks), rng.integers(15, size=n_groups)
    label = np.where(rng.random(n_tracks) < 0.7, style[artist], rng.integers(15, size=n_tracks))
    lines = ["path\tlabel\tartist\n"]
    for k in range(15):
        (folder / str(k)).mkdir(parents=True)
    for n, (k, a) in enumerate(zip(label, artist, strict=True)):
        (folder / f"{k}/{n}.wav").touch()
        lines.append(f"{k}/{n}.wav\tclass{k}\tartist{a}\n")
    (folder / "table.tsv").write_text("".join(lines))
    log = measured("folds", "folds", folder / "table.tsv", "--group", "artist", "--out", folder / "lists")
    print("\n".join(line for line in log.splitlines() if "dealt" in line))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="tracks,probabilities,classes,folds")
    parser.add_argument("--work", help="parent of the temporary folder")
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    n, few = int(100_000 * args.scale), max(int(20_000 * args.scale), 1500)
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        for name in args.only.split(","):
            folder = Path(work, name)
            if name == "folds":
                deal(folder, n, int(16_000 * args.scale))
            elif name == "classes":
                judge(folder, few, 500, 4)
            else:
                judge(folder, n, 10, 8, probabilities=name == "probabilities")


if __name__ == "__main__":
    main()
