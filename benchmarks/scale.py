#!/usr/bin/env python3
"""Measure how extraction scales with processes, stored features and the number of tracks; then extrapolate.

    python benchmarks/scale.py [--only cores,reuse,scale,paper] [--work DIR] [--quick]

cores   500 clips of 30 s with one process and two, with warm and cold workers; 64 clips; import time and memory of a
        worker
reuse   a second `extract` over 10,000 stored tracks, as whole commands
scale   100 to 20,000 short tracks: time and memory of choosing the rate, extraction, re-use, and reading for training
paper   folders and packed files on this disk; then an extrapolation of all sections to 1 and 100 million tracks

All data are synthetic, in a temporary folder of DIR (5 GB, 700,000 files), which is removed at the end. --quick uses a
twentieth of everything, to try the script. The last line is one JSON object. Every phase runs in its own process.

How to read the figures: contenders run in turn; compare only ratios within one run. "others" is the number of cores
that other programs used during the measurement. If it is 0.3 or more of 2 cores, two processes cannot be twice as fast
as one. Then compare with the ceiling (two independent processes with half of the clips each) and with CPU seconds:
twice "CPU 1 / 2" is the highest possible ratio of two free cores.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

MEDIAN, TICKS = statistics.median, os.sysconf("SC_CLK_TCK")
SECTIONS = ("cores", "reuse", "scale", "paper")
CLIPS, FEW_CLIPS, CLIP_S, RATE_HZ, STORED = 500, 64, 30, 22050, 10_000
STEPS, SHORT_S, SHORT_HZ = (100, 300, 1000, 3000, 10_000, 20_000), 4, 11025
FRAMES, BANDS = 1 + (CLIP_S * RATE_HZ - 1536) // 768, 40  # of a 30 s clip
# Layouts with the same number of files: an eighth of the store's 256 folders, and of 65,536 folders in two levels; and
# one folder of the size that each of the 256 has with 100 million tracks.
PER_FOLDER, LAYOUTS, BIG_FOLDER, PROBES = (80, 800, 4000), {"one level": 32, "two levels": 8192, "big": 1}, 390_625, 500
# Assumptions of the extrapolation, not measured here: operations per second of a network file system, for all hosts
# together (creating files), and for one process that waits for each answer (looking up files).
NETWORK_CREATES, NETWORK_LOOKUPS = 1000, 5000


def cpu_s():
    """Return the CPU seconds of this process with all its descendants, and of the whole machine."""
    parents, seconds = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process may have ended
            fields = file.read_text().rpartition(")")[2].split()
            parents[int(file.parent.name)] = int(fields[1])
            seconds[int(file.parent.name)] = sum(map(int, fields[11:15])) / TICKS

    def family(pid):
        return seconds.get(pid, 0) + sum(family(child) for child, parent in parents.items() if parent == pid)

    machine = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return family(os.getpid()), (sum(machine) - machine[3] - machine[4]) / TICKS  # without idle and I/O wait


def metered(function):
    """Run a function; return its result, and its wall and CPU seconds (with and without children) and "others"."""
    before, start_s, own_s = cpu_s(), time.perf_counter(), time.process_time()
    result = function()
    wall_s, own_s, after = time.perf_counter() - start_s, time.process_time() - own_s, cpu_s()
    cpu, busy = (after[k] - before[k] for k in (0, 1))
    return result, {"wall": wall_s, "cpu": cpu, "own": own_s, "others": max(0, busy - cpu) / max(wall_s, 0.01)}


def memory(pid="self"):
    """Return the peak and the anonymous memory of a process in bytes; unlike ru_maxrss, exec resets this peak."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmHWM", "RssAnon")}


def us_each(function, items):
    start = time.perf_counter()
    for item in items:
        function(item)
    return (time.perf_counter() - start) * 1e6 / len(items)


def run(phase, fresh=None, **args):
    """Run a phase in its own process; return its result, with its cost as "whole"; fresh : scratch folder to empty."""
    if fresh:
        shutil.rmtree(args.setdefault("scratch", fresh), ignore_errors=True)
    command = [sys.executable, __file__, "--phase", phase, json.dumps(args, default=str)]
    done, cost = metered(lambda: subprocess.run(command, stdout=subprocess.PIPE, check=True))
    return {**json.loads(done.stdout.splitlines()[-1]), "whole": cost}


def spread(values):
    return f"{MEDIAN(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def load(scratch, threads=2):  # this and the following functions run in the processes of the phases
    """Import the modules of extraction, in an environment prepared as by the command."""
    from mirex_submission.system import environment

    environment.prepare(scratch, threads=threads)
    from mirex_submission.features import extraction, store
    from mirex_submission.features.headers import Headers
    from mirex_submission.features.spec import FeatureSpec
    from mirex_submission.protocol import lists
    from mirex_submission.runs.options import FeatureOptions
    from mirex_submission.runs.scratch import choose_specs
    from mirex_submission.system.workers import Workers
    from mirex_submission.training.recipe import Recipe

    return SimpleNamespace(
        AudioState=store.AudioState,
        FeatureOptions=FeatureOptions,
        FeatureSpec=FeatureSpec,
        FeatureStore=store.FeatureStore,
        Header=store.Header,
        Headers=Headers,
        Workers=Workers,
        Recipe=Recipe,
        choose_specs=choose_specs,
        content_hash=store.content_hash,
        extraction=extraction,
        lists=lists,
    )


def phase_clips(folder, n, seconds, rate_hz, store=None):
    """Write distinct clips, made by rolling and mixing one buffer of tones and noise, and their list.

    store : scratch folder for features of 30 s for each clip, which are random and not computed.
    """
    import numpy as np
    import soundfile

    rng, t = np.random.default_rng(0), np.arange(round(seconds * rate_hz)) / rate_hz
    tones = sum(np.sin(2 * np.pi * hz * t) for hz in (110, 277, 660, 1900))
    base = np.asarray(3000 * tones + 2000 * rng.normal(size=len(t)), np.int16)
    Path(folder).mkdir(parents=True)
    paths = [f"{folder}/clip{k:05d}.wav" for k in range(n)]
    for k, path in enumerate(paths):
        soundfile.write(path, np.roll(base, 997 * k) + np.roll(base, 31 * k) // 2, rate_hz, subtype="PCM_16")
    Path(folder, "list").write_text("\n".join(paths))
    if store:
        program = load(store)
        spec, frames = program.FeatureSpec(rate_hz), rng.normal(size=(FRAMES, BANDS)).astype(np.float32)
        for path in paths:
            state, content = program.AudioState.of(path), program.content_hash(path)
            header = program.Header(path, state, content, spec, FRAMES, CLIP_S)
            program.FeatureStore(store, spec).write(header, frames)
    return {"bytes": os.path.getsize(paths[0])}


def phase_extract(list_file, scratch, jobs=2, n=None, extract=True):
    """Run the parts of the command `extract` one by one."""
    program, imported = metered(lambda: load(scratch, jobs))
    paths, listed = metered(lambda: program.lists.read_paths(list_file)[:n])
    features, headers = program.FeatureOptions(bands=BANDS), program.Headers(jobs)
    recipe = program.Recipe()
    (spec,), rated = metered(
        lambda: program.choose_specs(Path(scratch), paths, recipe, features, headers, whole_task=True)
    )
    answer = {"import": imported, "list": listed, "rate": rated}
    if extract:  # the result is discarded, but the peak includes its memory
        store, workers = program.FeatureStore(scratch, spec), program.Workers(jobs)
        answer["extract"] = metered(lambda: len(program.extraction.extract(paths, [store], workers)))[1]
    return {**answer, "memory": memory()}


def phase_warm(list_file, scratch, rounds):
    """Extract in turn by one process, by two, and by two independent processes; the workers stay warm."""
    program, paths = load(scratch), Path(list_file).read_text().splitlines()
    store = program.FeatureStore(scratch, program.FeatureSpec(RATE_HZ))

    def halves():
        children = []
        for k in (0, 1):
            children.append(os.fork())
            if not children[-1]:
                for path in paths[k::2]:
                    program.extraction.extract_track(path, [store])
                os._exit(0)
        for child in children:
            os.waitpid(child, 0)

    ways = {f"{n}": lambda n=n: program.extraction.extract(paths, [store], program.Workers(n)) for n in (1, 2)}
    costs = {way: [] for way in ("1", "2", "ceiling")}
    for _ in range(rounds + 1):  # the first starts the workers
        for way, function in {**ways, "ceiling": halves}.items():
            shutil.rmtree(store.folder, ignore_errors=True)
            costs[way].append(metered(function)[1])
    workers = {pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}
    feature_bytes = store.file_of(paths[0]).stat().st_size
    peak = max((memory(pid)["VmHWM"] for pid in workers), default=0)
    return {"costs": {way: rows[1:] for way, rows in costs.items()}, "features": feature_bytes, "peak": peak}


def phase_import():
    _, cost = metered(lambda: __import__("mirex_submission.features.extraction"))
    return {**cost, **memory()}


def phase_pack(list_file, scratch, n):
    """Read the features for a training into a mapped file; memory is without that of the libraries."""
    program = load(scratch)
    program.start_keras(threads=2, seed=0)
    from mirex_submission.training.dataset import pack

    paths, recipe = Path(list_file).read_text().splitlines()[:n], program.Recipe()
    store, before = program.FeatureStore(scratch, program.FeatureSpec(SHORT_HZ)), memory()
    data, cost = metered(
        lambda: pack(Path(scratch), store, paths, [0] * len(paths), recipe)
    )  # kept while memory is read
    return {"pack": cost, "memory": {name: x - before[name] for name, x in memory().items()}, "rows": len(data.frames)}


def phase_layout(folder, shrink):
    """Measure microseconds to create a file as the store does, and to open one, by number of files per folder."""
    write_file = load(folder).write_file

    def new_path(layout):
        k, n = random.getrandbits(32) % LAYOUTS[layout], LAYOUTS[layout]
        folders = f"{k % 32:02x}/{k // 32:02x}" if n > 32 else f"{k:02x}"
        return f"{folder}/{layout}/{folders}/{random.getrandbits(128):032x}.logmel"

    paths, rows = {layout: [] for layout in LAYOUTS}, []
    for per_folder in PER_FOLDER:
        us = {layout: ([], []) for layout in LAYOUTS}
        for layout, stored in paths.items():
            n = BIG_FOLDER if layout == "big" else LAYOUTS["one level"] * per_folder
            while len(stored) < n // shrink:
                stored.append(new_path(layout))
                os.makedirs(os.path.dirname(stored[-1]), exist_ok=True)
                os.mknod(stored[-1])
        for layout in list(LAYOUTS) * 7:
            fresh = [new_path(layout) for _ in range(PROBES)]
            us[layout][0].append(us_each(lambda path: write_file(path, b"features", durable=False), fresh))
            old = random.choices(paths[layout], k=PROBES)
            us[layout][1].append(us_each(lambda path: open(path, "rb").close(), old))
        rows.append({layout: [MEDIAN(made), MEDIAN(opened)] for layout, (made, opened) in us.items()})
    return {"rows": rows}


def phase_reading(list_file, scratch, clip):
    """Measure microseconds per track to read stored features from single files and from one packed file, cached."""
    import numpy as np

    program, paths = load(scratch), Path(list_file).read_text().splitlines()
    store, packed = program.FeatureStore(scratch, program.FeatureSpec(RATE_HZ)), Path(scratch, "packed")
    with open(packed, "wb") as f:
        for path in paths:
            f.write(store.read(path)[1].tobytes())
    mapped = np.memmap(packed, "<f4", "r", shape=(len(paths), FRAMES, BANDS))
    ways = {
        "file, verified": lambda k: store.read(paths[k]),
        "file, bytes only": lambda k: store.file_of(paths[k]).read_bytes(),
        "packed, copied out": lambda k: np.array(mapped[k]),
        "file, header only": lambda k: store.fresh(paths[k]),
        "hash of a 30 s clip": lambda k: program.extraction.content_hash(clip),
    }
    us, order = {way: [] for way in ways}, random.sample(range(len(paths)), len(paths))
    for start in range(0, len(paths), PROBES):
        for way, read in ways.items():
            us[way].append(us_each(read, order[start : start + PROBES]))
    return {way: MEDIAN(values) for way, values in us.items()}


def cores(work, shrink, results):
    n, few, clips, scratch = CLIPS // shrink, FEW_CLIPS // shrink, work / "long/list", work / "scratch"
    audio_bytes = run("clips", folder=clips.parent, n=n, seconds=CLIP_S, rate_hz=RATE_HZ)["bytes"]
    warm = run("warm", list_file=clips, scratch=scratch, rounds=6)
    one = warm["costs"]["1"]
    costs = {f"warm, {way}": {1: one, 2: warm["costs"][way]} for way in ("2", "ceiling")}
    for kind, n_tracks, rounds in ((f"cold, {n} clips", n, 4), (f"{few} clips, -numThreads 2", few, 6)):
        for jobs in (1, 2) * rounds:
            times = run("extract", fresh=scratch, list_file=clips, jobs=jobs, n=n_tracks)
            for part in ("extract", "whole"):
                costs.setdefault(f"{kind}, {part}", {1: [], 2: []})[jobs].append(times[part])
    print(
        f"{n} clips of {CLIP_S} s. Seconds, median (minimum to maximum). extract: first to last track; whole: command"
    )
    print("Ratios 1 / 2, medians of the rounds: goals 1.8 for all clips, 1.0 for the few.\n")
    print(f"{'':34}{'1 process':24}{'2 processes':24}{'wall 1 / 2':24}{'CPU 1 / 2':>9}{'others':>8}")
    for name, by_jobs in costs.items():
        pairs = list(zip(by_jobs[1], by_jobs[2], strict=True))
        walls = [spread([c["wall"] for c in by_jobs[jobs]]) for jobs in (1, 2)]
        wall, cpu = ([one[key] / max(two[key], 0.01) for one, two in pairs] for key in ("wall", "cpu"))
        others = MEDIAN([c["others"] for pair in pairs for c in pair])
        print(f"{name:34}{walls[0]:24}{walls[1]:24}{spread(wall):24}{MEDIAN(cpu):9.2f}{others:8.2f}")
    imports = [run("import") for _ in range(9)]
    wall, cpu, held = ([i[key] for i in imports] for key in ("wall", "own", "VmHWM"))
    print(
        f"\nimport of the extraction: {spread(wall)} s, CPU {MEDIAN(cpu):.2f} s, {MEDIAN(held) / 1e6:.0f} MB;", end=""
    )
    print(f" memory of a worker after all rounds: {warm['peak'] / 1e6:.0f} MB (goals: 0.5 s, 120 MB)")
    cpu_us = MEDIAN([c["cpu"] for c in one]) / n * 1e6
    result = {"costs": costs, "cpu_us": cpu_us, "audio": audio_bytes, "features": warm["features"]}
    return {**result, "import_wall_s": MEDIAN(wall), "import_cpu_s": MEDIAN(cpu), "worker_bytes": warm["peak"]}


def reuse(work, shrink, results):
    n, tracks, store = STORED // shrink, work / "tiny/list", work / "store"
    run("clips", folder=tracks.parent, n=n, seconds=0.01, rate_hz=RATE_HZ, store=store)
    run("extract", list_file=tracks, scratch=store)  # writes the record of the task
    again = [sys.executable, "-m", "mirex_submission", "extract", store, tracks, "-numThreads", "2", "-q"]
    load_all = "import mirex_submission.cli.main, mirex_submission.features.extraction"
    commands = {"import": [sys.executable, "-c", load_all], "again": again, "--verify": [*again, "--verify"]}
    costs, steps = {name: [] for name in commands}, []
    for _ in range(5):
        for name, words in commands.items():
            costs[name].append(metered(lambda words=words: subprocess.run(words, check=True))[1])
        steps.append(run("extract", list_file=tracks, scratch=store))
    print(f"extract over {n} tracks that are already stored, whole commands; seconds\n")
    walls = {name: MEDIAN([c["wall"] for c in rows]) for name, rows in costs.items()}
    for name, rows in costs.items():
        print(f"  {name:9} wall {spread([c['wall'] for c in rows]):22} CPU {MEDIAN([c['cpu'] for c in rows]):.2f}")
    us = {name: 1e6 * (walls[name] - walls["import"]) / n for name in ("again", "--verify")}
    us |= {f"its {step}": 1e6 * MEDIAN([s[step]["wall"] for s in steps]) / n for step in ("list", "rate", "extract")}
    print(f"\nwithout the import: {us['again'] * n / 1e6:.2f} s (goal: under 5). us per track:", end=" ")
    print(", ".join(f"{name} {x:.0f}" for name, x in us.items()))
    return {"us": us, "costs": costs}


def scale(work, shrink, results):
    steps, scratch, clips, rows = [n // shrink for n in STEPS], work / "scratch", work / "short/list", []
    run("clips", folder=clips.parent, n=steps[-1], seconds=SHORT_S, rate_hz=SHORT_HZ)
    for n in steps:
        args = {"list_file": clips, "n": n}
        row = {"rate": run("extract", fresh=scratch, extract=False, **args)}
        row |= {"extract": run("extract", fresh=scratch, **args), "re-use": run("extract", scratch=scratch, **args)}
        rows.append(row | {"pack": run("pack", scratch=scratch, **args)})
    shutil.rmtree(clips.parent)
    names = {"rate": "rate", "extract": "extract", "re-use": "extract", "pack": "pack"}
    print(f"{SHORT_S} s clips, 2 processes: wall s; wall and CPU us per track; peak MB (pack: without libraries)\n")
    print(f"{'tracks':>7}", *(f"{phase:>30}" for phase in names))
    for n, row in zip(steps, rows, strict=True):
        costs = [(row[phase][step], row[phase]["memory"]["VmHWM"] / 1e6) for phase, step in names.items()]
        cells = (f"{c['wall']:9.2f}{c['wall'] / n * 1e6:8.0f}{c['cpu'] / n * 1e6:7.0f}{mb:6.0f}" for c, mb in costs)
        print(f"{n:7}", *cells)
    print("\nTime ratio from the 4th step to the last (linear: 0.7 to 1.4); bytes per track from the 1st to the last\n")
    result = {}
    for phase, step in names.items():
        first, mid, last = (row[phase] for row in (rows[0], rows[3], rows[-1]))
        ratios = [last[step][x] / mid[step][x] / steps[-1] * steps[3] for x in ("wall", "cpu")]
        grown = [(last["memory"][x] - first["memory"][x]) / (steps[-1] - steps[0]) for x in ("VmHWM", "RssAnon")]
        us, own_us = (last[step][x] / steps[-1] * 1e6 for x in ("wall", "own"))
        result[phase] = {"us": us, "own_us": own_us, "ratios": ratios, "bytes": grown[0], "anonymous": grown[1]}
        print(f"  {phase:8} us per track: wall x {ratios[0]:.2f}, CPU x {ratios[1]:.2f};", end=" ")
        print(f"peak {grown[0]:.0f} B, anonymous {grown[1]:.0f} B, CPU of this process {own_us:.0f} us per track")
    return {"steps": steps, "rows": rows, "phases": result}


def paper(work, shrink, results):
    layout = run("layout", folder=work / "layout", shrink=shrink)["rows"]
    files = {"list_file": work / "tiny/list", "scratch": work / "store", "clip": work / "long/clip00000.wav"}
    reading = run("reading", **files)
    del reading["whole"]
    print("us to create / to open a file, cached; two levels: the same files in 256 times more folders\n")
    for per_folder, row in zip(PER_FOLDER, layout, strict=True):
        cells = ", ".join(f"{name} {made:.0f} / {opened:.0f}" for name, (made, opened) in row.items())
        print(f"  {per_folder // shrink} files per folder ({BIG_FOLDER // shrink} in the big one): {cells}")
    print("\nus to read a track of 30 s, cached:", ", ".join(f"{x} {us:.0f}" for x, us in reading.items()))
    figures, phases, us, hour = results["cores"], results["scale"]["phases"], results["reuse"]["us"], 3.6e9
    core_us, parent_us = figures["cpu_us"], phases["extract"]["own_us"]
    print(
        f"\n{core_us / 1000:.1f} ms of a core per track; the parent needs {parent_us:.0f} us per track, so it", end=" "
    )
    print(f"feeds at most {core_us / parent_us:.0f} cores. Assumptions: cores and hosts add up; a network", end=" ")
    print(f"file\nsystem creates {NETWORK_CREATES} and looks up {NETWORK_LOOKUPS} files per second.\n")
    shared = us["its list"] + us["its rate"]  # every shard does this for all tracks
    a_track = {  # cost of one track
        "audio, GB": figures["audio"] / 1e9,
        "features, GB": figures["features"] / 1e9,
        "files (inodes) in each of 256 folders": 1 / 256,
        "hours, host of 2 cores": core_us / 2 / hour,
        "hours, host of 64 cores, one call": max(core_us / 64, parent_us) / hour,
        "hours, host of 64 cores, all fed": core_us / 64 / hour,
        "hours of creating on a network disk (assumed)": 1 / NETWORK_CREATES / 3600,
        "memory of the parent, GB": phases["extract"]["bytes"] / 1e9,
        "re-use pass, hours, one call": us["again"] / hour,
        "re-use pass, hours, --shard 1/64": ((us["again"] - shared) / 64 + shared) / hour,
        "re-use, network disk (assumed), one call": 3 / NETWORK_LOOKUPS / 3600,  # two stat (rate, audio), one open
        "re-use with --verify, hours, one call": (us["--verify"] + reading["hash of a 30 s clip"]) / hour,
        "record of the task, GB": 8e-9,
        "training array, GB": FRAMES * BANDS * 4 / 1e9,
        "training's reading, hours": (reading["file, verified"] + phases["pack"]["us"]) / hour,
    }
    rows = [f"{name:46}{1e6 * x:16,.2f}{1e8 * x:16,.2f}" for name, x in a_track.items()]
    print(f"{'':46}{'1 million':>16}{'100 million':>16}", *rows, sep="\n")
    return {"layout": layout, "reading": reading, "each": a_track}


def main():
    if sys.argv[1:2] == ["--phase"]:
        print(json.dumps(globals()[f"phase_{sys.argv[2]}"](**json.loads(sys.argv[3]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections (default: all); paper needs all")
    parser.add_argument("--work", metavar="DIR", help="parent of the temporary folder")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    chosen, results = set(args.only.split(",")), {}
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        for section in SECTIONS:
            if chosen & {section, "paper"}:
                print(f"\n== {section}\n", flush=True)
                results[section] = globals()[section](Path(folder), 20 if args.quick else 1, results)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
