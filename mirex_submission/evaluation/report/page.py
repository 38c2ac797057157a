"""The report of an evaluation as one HTML page to read, print and send: figures, tests, and how they were made.

The page is made from `results.json`, from `runs.json` beside it if `crossval` ran the systems, and from the
probabilities and audio files that exist. It contains all its images, runs no script and loads no other file. Names,
labels and paths may come from untrusted files: the template escapes them all, and the page's Content-Security-Policy
allows only styles and embedded images and audio.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jinja2

from mirex_submission.errors import UsageError, coded
from mirex_submission.evaluation.audit.records import AUDIT
from mirex_submission.evaluation.crossval.record import RUNS, read_runs
from mirex_submission.evaluation.judging.results import RESULTS, read
from mirex_submission.evaluation.report.audit import audit_section
from mirex_submission.evaluation.report.content import Report, assemble
from mirex_submission.evaluation.report.mistakes import Explained, Mistake
from mirex_submission.evaluation.report.stress import stress_section
from mirex_submission.evaluation.stress.results import STRESS
from mirex_submission.system.atomic import check_writable, write_file, write_output
from mirex_submission.system.progress import Progress, duration, printable

Explain = Callable[[str, Mistake], Explained]  # arguments: name of a system, and one of its mistakes


def write_report(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    command: Sequence[str],
    *,
    explain: Explain | None = None,
) -> list[str]:
    """Write the report of the results in `folder` to `output`.

    Parameters
    ----------
    folder : path
        Folder that `evaluate --out`, `crossval --out` or `audit --out` wrote.
    output : path
        HTML file to write.
    command : sequence of str
        The command line, which the page shows.
    explain : callable, optional
        Explains a mistake that the page shows.

    Returns
    -------
    list of str
        What the page lacks, and why.

    Raises
    ------
    ListError
        The results or the record of the run cannot be read.
    StorageError
        The page cannot be written to the disk.
    UsageError
        The page would overwrite one of its own sources.
    """
    folder = Path(folder)
    section = audit_section(folder)
    check_writable(output)
    for path in (folder / RESULTS, folder / RUNS, folder / AUDIT, folder / STRESS):
        if os.path.realpath(output) == os.path.realpath(path):
            text = f"{output}: the report would overwrite a file that it is made from: give another file name"
            raise UsageError(text, code="report.replaces-results")
    notes = []
    if section and not (folder / RESULTS).exists():
        page = template("audit_page.html.jinja").render(section=section, command_line=command)
    else:
        report = assemble(folder, read(folder / RESULTS), read_runs(folder))
        explained = _explained(report, explain) if explain else {}
        page = template("report.html.jinja").render(
            report=report, section=section, stress=stress_section(folder), explained=explained, command_line=command
        )
        missing = [why.missing for of_system in explained.values() for why in of_system if why.missing]
        notes = [*report.notes, *(coded(f"not explained: {text}", code="report.not-explained") for text in missing)]
    write = write_file if Path(output).parent == folder else write_output
    write(output, page.encode("utf-8"))
    return notes


def _explained(report: Report, explain: Explain) -> dict[str, list[Explained]]:
    """Explain the mistakes of each system."""
    progress = Progress("explained mistakes", sum(map(len, report.mistakes.values())), unit="tracks")
    explained: dict[str, list[Explained]] = {}
    for name, mistakes in report.mistakes.items():
        for mistake in mistakes:
            explained.setdefault(name, []).append(explain(name, mistake))
            progress.advance()
    progress.close()
    return explained


def template(name: str) -> jinja2.Template:
    """Load a template of this folder; it escapes all data."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters.update(percent=_percent, p_value=_p_value, seconds=_seconds, command=shlex.join)
    return environment.get_template(name)


def _visible(value: Any) -> Any:
    """Escape unprintable characters of data, so that no name can hide or reverse the text of the page."""
    return printable(value) if type(value) is str else value


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
