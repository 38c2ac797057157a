"""An evaluation as one page of HTML to read, print and send: figures, tests, and what gave them.

The page is made from `results.json`, from `runs.json` beside it where `crossval` ran the systems, and from the
probabilities and audio that are at hand. It holds all its pictures, runs no script and loads nothing. Names, labels and
paths come from strangers: the template escapes them all, and the page's own policy forbids what is no style or picture.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from mirex_submission.errors import UsageError
from mirex_submission.evaluation.crossval.runs import RUNS, Runs, read_runs
from mirex_submission.evaluation.judging.results import read
from mirex_submission.evaluation.report import figures as plots
from mirex_submission.evaluation.report import mistakes
from mirex_submission.features.spec import DEFAULT_BANDS
from mirex_submission.system.atomic import check_writable, write_file
from mirex_submission.system.progress import duration, printable
from mirex_submission.version import __version__

RESULTS = "results.json"
_TEMPLATE = "report.html.jinja"
_N_CONFUSIONS = 3  # named below each matrix


def write_report(folder: str | os.PathLike[str], output: str | os.PathLike[str], command: Sequence[str]) -> list[str]:
    """Write the page of the results in `folder` to `output`; returns what is not on it, and why.

    command : the call that asked for it, which the page names.
    Raises ListError for results that cannot be read, StorageError where the disk does not take the page.
    """
    folder = Path(folder)
    check_writable(output)
    results = read(folder / RESULTS)
    runs = read_runs(folder)
    for path in (folder / RESULTS, folder / RUNS):
        if os.path.realpath(output) == os.path.realpath(path):
            raise UsageError(f"{output}: the report would replace what it is made from: give another file")
    page = _template().render(_context(results, runs), command_line=command)
    write_file(output, page.encode("utf-8"))
    return runs.notes


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters.update(percent=_percent, p_value=_p_value, seconds=_seconds, command=shlex.join)
    return environment.get_template(_TEMPLATE)


def _visible(value: Any) -> Any:
    """Text of data without what is no printable character: no name can turn the page's letters round, or hide."""
    return printable(value) if type(value) is str else value


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)


def _context(results: Mapping[str, Any], runs: Runs) -> dict[str, Any]:
    """What the template says, under the names by which it does."""
    systems = sorted(results["systems"], key=lambda system: (-system["overall"]["accuracy"], system["name"]))
    names = [system["name"] for system in systems]
    sizes = np.sum([fold["n_tracks_per_class"] for fold in systems[0]["folds"]], axis=0)
    wrong = _mistakes(results, names, runs)
    pairs = _pairs(results, names)
    calls = _calls(runs)
    seconds = {name: times for name, times in runs.seconds().items() if name in names}
    return {
        "results": results,
        "runs": runs,
        "systems": systems,
        "n_tests": int(sizes.sum()),
        "largest": (results["classes"][int(sizes.argmax())], sizes.max() / sizes.sum()),
        "first_two": pairs[0]["mcnemar"] if pairs else None,
        "pairs": pairs,
        "sizes": sizes.tolist(),
        "n_bands": DEFAULT_BANDS,
        "findings": _findings(results),
        "wrong": wrong,
        "pictures": {mistake.path: mistakes.picture(mistake.path) for found in wrong.values() for mistake in found},
        "accuracies": plots.accuracies([(s["name"], *_accuracies(s)) for s in systems]),
        "recalls": _recalls(results["classes"], systems),
        "ranks": {over: _ranks(comparison, over) for over, comparison in results["significance"].items() if comparison},
        "matrices": [_matrix(results["classes"], system) for system in systems],
        "curves": {n: plots.learning_curves(runs.histories[n], n) for n in _each_training_once(names, calls, runs)},
        "run_times": plots.run_times(seconds) if seconds else None,
        "calls": calls,
        "versions": {
            "mirex-submission": __version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in ("matplotlib", "jinja2")},
        },
    }


def _accuracies(system: Mapping[str, Any]) -> tuple[float, list[float], list[float]]:
    overall = system["overall"]
    return overall["accuracy"], overall["accuracy_interval"], [fold["accuracy"] for fold in system["folds"]]


def _recalls(classes: Sequence[str], systems: Sequence[Mapping[str, Any]]) -> Markup:
    """The classes' recalls, the class that is hardest for all systems together last."""
    table = np.array([system["overall"]["recalls"] for system in systems]).T
    order = np.argsort(-table.mean(axis=1), kind="stable")
    return plots.recalls([classes[k] for k in order], table[order], [system["name"] for system in systems])


def _ranks(comparison: Mapping[str, Any], over: str) -> Markup:
    ranks = {name: (rank["mean"], *rank["interval"]) for name, rank in comparison["mean_ranks"].items()}
    return plots.mean_ranks(dict(sorted(ranks.items(), key=lambda item: -item[1][0])), over)


def _matrix(classes: Sequence[str], system: Mapping[str, Any]) -> dict[str, Any]:
    """A system's matrix as a figure, and its most frequent confusions: how many tracks, truth, prediction."""
    counts = np.array(system["overall"]["confusion"])
    asked = np.sum([fold["n_tracks_per_class"] for fold in system["folds"]], axis=0)
    confusions = [
        (int(count), classes[truth], classes[predicted])
        for (predicted, truth), count in np.ndenumerate(counts)
        if predicted != truth and count
    ]
    return {
        "name": system["name"],
        "figure": plots.confusion(classes, counts, asked - counts.sum(axis=0), system["name"]),
        "confusions": sorted(confusions, key=lambda confusion: -confusion[0])[:_N_CONFUSIONS],
    }


def _pairs(results: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """All tests of each pair of systems, the better first: McNemar's, Tukey-Kramer's over classes and over folds."""
    tests = {over: comparison["differences"] for over, comparison in results["significance"].items() if comparison}
    tests["mcnemar"] = results["mcnemar"]
    by_pair: dict[tuple[str, str], dict[str, Any]] = {pair: {} for pair in combinations(names, 2)}
    for test, pairs in tests.items():
        for pair in pairs:
            first, second = pair["first"], pair["second"]
            if (first, second) in by_pair:
                by_pair[first, second][test] = pair
            else:
                by_pair[second, first][test] = _turned(pair)
    return list(by_pair.values())


def _turned(pair: Mapping[str, Any]) -> dict[str, Any]:
    """What a test says of the second system and the first."""
    turned = {**pair, "first": pair["second"], "second": pair["first"]}
    if "mean" in pair:
        turned["mean"] = -pair["mean"]
    else:
        turned |= {"n_only_first": pair["n_only_second"], "n_only_second": pair["n_only_first"]}
    return turned


def _findings(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the organisers' evaluator fails on: of each kind in each system's outputs the first, and how many."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    said = [("the truth", results["truth_findings"]), *((s["name"], s["findings"]) for s in results["systems"])]
    for owner, findings in said:
        for finding in findings:
            group = groups.setdefault((owner, finding["kind"]), {"owner": owner, "first": finding, "n": 0})
            group["n"] += 1
    return list(groups.values())


def _mistakes(results: Mapping[str, Any], names: Sequence[str], runs: Runs) -> dict[str, list[mistakes.Mistake]]:
    """The most confident mistakes of each system whose probabilities are known."""
    found = {}
    for system in sorted(results["systems"], key=lambda system: names.index(system["name"])):
        name = system["name"]
        try:
            csv_of = _probabilities_of(system, runs)
            if csv_of:
                found[name] = mistakes.most_confident(name, results["folds"], csv_of)
            else:
                runs.notes.append(f"{name}: no file of probabilities: its most confident mistakes are not known")
        except (OSError, ValueError) as error:
            runs.notes.append(f"{name}: its probabilities cannot be used: {error}")
    return found


def _probabilities_of(system: Mapping[str, Any], runs: Runs) -> dict[str, Path]:
    """Fold -> the file of its probabilities, where there is one."""
    csv_of = {}
    for fold in system["folds"]:
        # Else where the README has them written: beside the output, under its name.
        beside = Path(fold["output"]["path"]).with_suffix(".csv") if fold["output"] else None
        path = runs.probabilities.get((system["name"], fold["name"]), beside)
        if path and path.exists():
            csv_of[fold["name"]] = path
    return csv_of


def _calls(runs: Runs) -> list[dict[str, Any]]:
    """Of each kind of call of a system: how many, how long together and at most, the most memory, how many failed.

    others : the systems that the very same calls served.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    served: dict[str | None, list[str]] = {}
    for call in runs.calls:
        group = groups.setdefault((call.system, call.call), {"system": call.system, "call": call.call, "calls": []})
        group["calls"].append(call)
        served.setdefault(call.log, []).append(call.system)
    for group in groups.values():
        times = [call.seconds for call in group["calls"] if call.seconds is not None]
        group["total"], group["longest"] = (sum(times), max(times)) if times else (None, None)
        group["peak_mb"] = max((call.peak_mb for call in group["calls"] if call.peak_mb is not None), default=None)
        group["n_failed"] = sum(call.status != 0 or call.fault is not None for call in group["calls"])
        systems = dict.fromkeys(name for call in group["calls"] if call.log for name in served[call.log])
        group["others"] = [name for name in systems if name != group["system"]]
    return list(groups.values())


def _each_training_once(names: Sequence[str], calls: Sequence[Mapping[str, Any]], runs: Runs) -> list[str]:
    """Of systems that a training served alike the first one that has its history."""
    alike = {group["system"]: group["others"] for group in calls if group["call"] == "train"}
    found: list[str] = []
    for name in names:
        if name in runs.histories and not set(alike.get(name, ())) & set(found):
            found.append(name)
    return found
