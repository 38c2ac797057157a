"""Preflight as the command line has it: at the beginning of a run, and as the command `check`."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from mirex_submission.errors import AudioError, DeviceError, ModelError
from mirex_submission.features.headers import Headers
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.models import bundle as bundles
from mirex_submission.networks import engine as engines
from mirex_submission.preflight import checks as preflight
from mirex_submission.preflight.checks import FACT, FAULT, WARNING, Finding, Run
from mirex_submission.protocol.lists import Track
from mirex_submission.runs.submission import choose_spec
from mirex_submission.training.recipe import Recipe

__all__ = ["Headers", "begin", "check"]

log = logging.getLogger(__name__)

_LABELS = {FAULT: "FAULT", WARNING: "warning", FACT: "ok"}


def begin(
    args: argparse.Namespace,
    headers: Headers,
    spec: FeatureSpec,
    paths: Sequence[str],
    *,
    trained: Sequence[Track] = (),
    recipe: Recipe | None = None,
    heard: Sequence[Sequence[str]] = (),
    n_jobs: int | None = None,
) -> None:
    """End a run now that would end so after hours: raises the error of its first fault, with all that was found.

    Warnings go to the log. With --no-check nothing is looked at. A test track that cannot be heard ends nothing.
    The arguments are those of preflight.Run.
    """
    if args.no_check:
        return
    run = Run(
        args.scratch,
        spec,
        paths,
        trainings=[trained] if trained else [],
        recipe=recipe or Recipe(),
        max_bad=args.max_bad / 100 if trained else 0,
        heard=heard,
        strict=args.strict,
        threads=args.threads,
        n_jobs=args.threads if n_jobs is None else n_jobs,
        device=getattr(args, "device", None),
    )
    findings = preflight.check(run, headers)
    faults = [finding for finding in findings if finding.severity == FAULT]
    for finding in findings:
        if finding.severity == FACT:
            log.debug("check: %s", finding.text)
        # A run that goes on names each track that it cannot use when it comes to it.
        elif finding.severity == WARNING and (faults or finding.kind is not AudioError):
            log.warning("%s", finding.text)
    if faults:
        said = [fault.text for fault in faults]
        raise faults[0].kind("\n".join([*said, "nothing was begun; --no-check begins all the same"]))


def check(args: argparse.Namespace, recipe: Recipe) -> None:
    """Print all that can be known of runs over these lists, worst first. Raises the error of the first fault."""
    task, findings = preflight.read_lists(args.lists, args.groups)
    headers = Headers(args.threads)
    where = {track.path: f"{each.path}:{track.line}: " for each in reversed(task) for track in each.tracks}
    spec = _spec(args, list(where), headers)
    run = Run(
        args.scratch,
        spec,
        list(where),
        trainings=[each.tracks for each in task if each.labelled],
        recipe=recipe,
        max_bad=args.max_bad / 100,
        heard=[[track.path for track in each.tracks] for each in task if not each.labelled],
        strict=args.strict,
        threads=args.threads,
        n_jobs=args.threads,
        device=args.device,
        where=where,
    )
    findings += [*preflight.check(run, headers), _model(args.scratch, args.name)]
    if args.device.startswith("gpu") and not any(finding.kind is DeviceError for finding in findings):
        findings.append(_backend(args.device, args.threads))
    findings = preflight.worst_first(findings)
    for finding in findings:
        print(f"{_LABELS[finding.severity]:8} {finding.text}")
    faults = [finding for finding in findings if finding.severity == FAULT]
    if faults:
        status = faults[0].kind.exit_status
        raise faults[0].kind(f"{len(faults)} fault(s), of which the first would end a run with status {status}")


def _spec(args: argparse.Namespace, paths: Sequence[str], headers: Headers) -> FeatureSpec:
    sizes = {"n_bands": args.bands, "n_frames": args.frames}
    if not paths:
        return FeatureSpec(**sizes)
    return choose_spec(args.scratch, paths, rate=args.rate, **sizes, threads=args.threads, headers=headers)


def _model(scratch: Path, name: str | None) -> Finding:
    """What bin/classify.sh would find."""
    folder = bundles.folder_of(scratch, name)
    try:
        os.stat(folder / "bundle.json")
    except (FileNotFoundError, NotADirectoryError):
        return Finding(FACT, f"{folder}: no trained model yet")
    except OSError:
        pass  # what is there and why it cannot be read says load()
    try:
        model = bundles.load(folder)
        for network in model.recipe.networks:
            bundles.load_weights(folder, model, network)
    except ModelError as error:
        return Finding(WARNING, str(error), ModelError)
    made = f"{len(model.tracks)} tracks of {len(model.classes)} classes, with {model.engine}"
    return Finding(FACT, f"{folder}: model {model.recipe.model}, trained on {made}")


def _backend(device: str, threads: int) -> Finding:
    """What Keras says of the GPUs that are asked for, which takes seconds."""
    try:
        return Finding(FACT, engines.start(device, threads=threads, seed=0).said)
    except DeviceError as error:
        return Finding(FAULT, str(error), DeviceError)
