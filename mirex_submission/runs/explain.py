"""Explain the prediction of a model for one track, on an HTML page and in a picture."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.errors import coded
from mirex_submission.runs.classify import load_model, output_files, start_predictor
from mirex_submission.runs.options import ClassificationOptions, RunOptions
from mirex_submission.runs.scratch import scratch_folder
from mirex_submission.system.atomic import check_writable, write_output
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import checked_path

if TYPE_CHECKING:
    from mirex_submission.models.explanation import Explanation

log = logging.getLogger(__name__)


def explain(
    scratch: str | os.PathLike[str],
    track: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    classification: ClassificationOptions = ClassificationOptions(),
    run: RunOptions = RunOptions(),
    command: Sequence[str] = (),
) -> Explanation:
    """Explain the class of a track and write a page and a picture.

    Parameters
    ----------
    scratch : path
        Folder that holds the model.
    track : path
        An audio file.
    out : path, optional
        Name of the page, which ends in .html, or a folder for it; default: the current folder. In a folder, the page
        gets the name of the track. The picture has the name of the page, with .png.
    classification, run : ClassificationOptions, RunOptions
        Model and vote; threads, device and engine.
    command : sequence of str
        The command line, which the page shows.

    Returns
    -------
    Explanation

    Raises
    ------
    AudioError
        The track is unreadable, empty, silent or too short.
    ModelError
        There is no model, or it is damaged or of another type.
    DeviceError, StorageError, UsageError
        The device is missing; a file cannot be written; a file would overwrite the track.
    """
    scratch, track = scratch_folder(scratch), checked_path("track", track)
    with prepared(scratch, threads=run.threads):
        page = page_of(track, None if out is None else checked_path("out", out))
        picture = os.path.splitext(page)[0] + ".png"
        output_files(scratch, page, picture, inputs=[track])
        explainer = Explainer(scratch, classification, run)
        for file in (page, picture):
            check_writable(file)
        explanation = explainer.explain(track)
        write_pages(explanation, page, picture, command)
        log.info("%s: one page that needs no other file; its picture: %s", page, picture)
    return explanation


def page_of(track: str, out: str | None) -> str:
    """Return the name of the page of a track: `out`, or a file in this folder with the name of the track."""
    if out and os.path.splitext(out)[1].lower() in (".html", ".htm") and not os.path.isdir(out):
        return out
    return os.path.join(out or "", os.path.splitext(os.path.basename(track))[0] + ".html")


class Explainer:
    """A model in memory that explains tracks.

    Parameters
    ----------
    scratch : Path
    classification, run : ClassificationOptions, RunOptions
        As in `explain`.
    """

    def __init__(self, scratch: Path, classification: ClassificationOptions, run: RunOptions) -> None:
        from mirex_submission.models.bundle import folder_of

        self._scratch, self._folder, self._run = scratch, folder_of(scratch, classification.name), run
        self._model = load_model(scratch, classification, run)
        self._predictor = start_predictor(self._folder, self._model, run)

    def predict(self, track: str) -> str:
        """Return the class of one track. Raises AudioError."""
        from mirex_submission.models.explanation import features_of

        features = features_of(track, self._model.specs, self._run.track_limit)
        return self._model.classes[self._predictor.predict(features)[0]]

    def explain(self, track: str) -> Explanation:
        """Explain one track. Raises AudioError."""
        from mirex_submission.models.explanation import explain_clip

        explanation = explain_clip(
            track, self._scratch, self._folder, self._model, self._predictor, threads=self._run.threads,
            limit_s=self._run.track_limit,
        )  # fmt: skip
        occlusion = explanation.occlusion
        text = (
            f"{track}: {explanation.label!r} {occlusion.probability:.1%}, without the marked regions "
            f"{occlusion.without_marked:.1%}, without as many random ones "
            f"{occlusion.probability - occlusion.random_fall:.1%}"
        )
        if occlusion.passed:
            log.info("%s", text)
        else:
            text = f"{text}: the deletion test failed: the marked regions do not explain the prediction"
            log.warning("%s", coded(text, code="explain.deletion"))
        return explanation


def write_pages(explanation: Explanation, page: str, picture: str, command: Sequence[str]) -> str:
    """Write the page of an explanation and its picture; return the clip as a data address. Raises StorageError."""
    from mirex_submission.evaluation.report.explanation import explanation_page

    made = explanation_page(explanation, command)
    write_output(page, made.html)
    write_output(picture, made.png)
    return made.audio
