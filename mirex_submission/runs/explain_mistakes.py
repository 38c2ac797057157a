"""Explain each mistake that a report shows on its own page, with the model that made it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mirex_submission.errors import AudioError, DeviceError, ModelError, UsageError
from mirex_submission.evaluation.crossval.record import read_runs
from mirex_submission.evaluation.report.mistakes import Explained, Mistake
from mirex_submission.protocol.outputs import class_key
from mirex_submission.runs.classify import output_files
from mirex_submission.runs.explain import Explainer, write_pages
from mirex_submission.runs.options import ClassificationOptions, RunOptions
from mirex_submission.runs.scratch import scratch_folder
from mirex_submission.system.atomic import digest, make_folder


class MistakeExplainer:
    """Writer of pages that explain mistakes, in the folder `NAME-explained` beside the report `NAME.html`.

    Parameters
    ----------
    scratch : path
        The scratch folder of `crossval`; or one that has the models of `evaluate`'s outputs, as `models/FOLD` or
        `model`.
    results : path
        Folder of the results.
    report : path
        The report.
    run : RunOptions
        Threads, device and engine.
    command : sequence of str
        The command line, which the pages show.
    """

    def __init__(
        self,
        scratch: str | os.PathLike[str],
        results: str | os.PathLike[str],
        report: str | os.PathLike[str],
        *,
        run: RunOptions,
        command: Sequence[str],
    ) -> None:
        self._scratch, self._run, self._command = scratch_folder(scratch), run, command
        self._record = read_runs(Path(results))
        name, _ = os.path.splitext(os.path.realpath(report))
        self._pages = Path(f"{name}-explained")
        output_files(self._scratch, self._pages, None, inputs=[])
        self._explainers: dict[tuple[Path, ClassificationOptions], Explainer] = {}

    def __call__(self, system: str, mistake: Mistake) -> Explained:
        """Explain a mistake of a system. Raises StorageError."""
        try:
            explainer = self._explainer(system, mistake.fold)
            predicted = explainer.predict(mistake.path)
            if class_key(predicted) != class_key(mistake.predicted):
                text = f"{mistake.path}: the model of {system} in {self._scratch} now predicts {predicted!r}"
                return Explained(missing=f"{text}: it is not the model that made this mistake")
            explanation = explainer.explain(mistake.path)
        except (AudioError, DeviceError, ModelError, UsageError) as error:
            return Explained(missing=str(error))
        make_folder(self._pages)
        name = digest("\n".join([system, mistake.fold, mistake.path]).encode("utf-8", "surrogatepass"))
        page = self._pages / f"{name[:16]}.html"
        audio = write_pages(explanation, str(page), str(page.with_suffix(".png")), self._command)
        return Explained(link=quote(f"{self._pages.name}/{page.name}".encode("utf-8", "surrogateescape")), audio=audio)

    def _explainer(self, system: str, fold: str) -> Explainer:
        """Return the model of a system in a fold. Raises ModelError, DeviceError or UsageError."""
        key = self._place(system, fold)
        if key not in self._explainers:
            self._explainers[key] = Explainer(*key, self._run)
        return self._explainers[key]

    def _place(self, system: str, fold: str) -> tuple[Path, ClassificationOptions]:
        """Return the scratch folder and the options with which a system classified a fold."""
        recorded = self._record.systems.get(system) if self._record else None
        steps = recorded.folds[fold].steps if recorded and fold in recorded.folds else []
        argv = next((step.argv for step in steps if step.name == "classify"), None)
        if argv is None:
            has_own = (self._scratch / "models" / fold).is_dir()
            return self._scratch, ClassificationOptions(name=fold if has_own else None)
        name = _value(argv, "--name")
        if name is None or len(argv) < 3:
            raise ModelError(f"{system}: only models of this program can be explained", code="report.other-system")
        scratch = scratch_folder(argv[-3])
        if Path(os.path.realpath(self._scratch)) not in (real := Path(os.path.realpath(scratch)), *real.parents):
            raise UsageError(
                f"the models of {system} are not in {self._scratch}: give --explain {scratch}",
                code="report.other-scratch",
            )
        return scratch, ClassificationOptions(name=name, model=_value(argv, "--model"), vote=_value(argv, "--vote"))


def _value(argv: Sequence[str], flag: str) -> str | None:
    """Return the last value of an option, in the next word or after an equals sign."""
    values = [word.partition("=")[2] for word in argv if word.startswith(f"{flag}=")]
    values += [argv[k + 1] for k, word in enumerate(argv[:-1]) if word == flag]
    return values[-1] if values else None
