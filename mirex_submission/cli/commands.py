"""What the commands on tracks run, from the command line and from Python (api.py) alike.

Each takes the arguments as the command line's parser leaves them, and loads its libraries only when it runs.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mirex_submission.errors import UsageError
from mirex_submission.features.spec import FeatureSpec
from mirex_submission.protocol import lists
from mirex_submission.protocol.lists import Track
from mirex_submission.system import runtime
from mirex_submission.system.atomic import check_writable, make_folder
from mirex_submission.system.paths import full_path
from mirex_submission.system.workers import Workers
from mirex_submission.training.recipe import Recipe

if TYPE_CHECKING:
    from mirex_submission.features.extraction import Extracted
    from mirex_submission.features.headers import Headers
    from mirex_submission.runs.submission import Classification

log = logging.getLogger(__name__)


def extract(args: argparse.Namespace) -> dict[str, Extracted]:
    from mirex_submission.preflight import begin as checking
    from mirex_submission.runs import submission

    if args.scheduler and args.backend == "loky":
        raise UsageError("--scheduler: give --backend dask or ray too")
    # A cluster has its own number of processors.
    n_jobs = args.jobs or (args.threads if args.backend == "loky" else -1)
    workers = Workers(n_jobs, args.backend, args.scheduler)
    paths = lists.read_paths(args.feature_list)
    headers = checking.Headers(args.threads)
    spec = _spec(args, paths, headers, whole_task=True)
    share = submission.share_of(paths, args.shard)
    checking.begin(args, headers, spec, share, heard=[share], n_jobs=n_jobs if workers.local else 0)
    del headers  # of a million files they are 200 MB; so below
    return submission.extract(
        args.scratch,
        paths,
        spec,
        workers,
        shard=args.shard,
        verify=args.verify,
        plots=Path(args.plot).absolute() if args.plot else None,
        strict=args.strict,
    )


def features(args: argparse.Namespace) -> None:
    from mirex_submission.features import inspect

    rate_hz = None if args.rate == "auto" else int(args.rate)
    header, frames, source = inspect.find_features(
        args.track, args.scratch, rate_hz=rate_hz, n_bands=args.bands, n_frames=args.frames
    )
    if args.export:
        inspect.export(frames, header.spec, args.export)
        log.info("%s: %d frames x %d bands, %s", args.export, *frames.shape, source)
    else:
        print(inspect.summary(header, frames))
        print(f"features  {source}")


def train(args: argparse.Namespace) -> Path:
    from mirex_submission.models import bundle
    from mirex_submission.preflight import begin as checking

    recipe = _recipe(args)
    features = args.feature_list
    tracks, task_paths, groups = lists.read_all(
        lambda: lists.read_labelled(args.train_list),
        lambda: lists.read_paths(features, for_evaluator=False) if features else [],
        lambda: _groups(args),
    )
    headers, paths = checking.Headers(args.threads), [*task_paths, *(track.path for track in tracks)]
    spec = _spec(args, paths, headers, whole_task=bool(features) and not args.dry_run)
    checking.begin(args, headers, spec, paths, trained=tracks, recipe=recipe, heard=[paths] if args.strict else [])
    if args.dry_run:
        from mirex_submission.preflight import cost as planning

        said = planning.plan(args.scratch, tracks, recipe, spec, headers, threads=args.threads, device=args.device)
        print(*said, sep="\n")
        return bundle.folder_of(args.scratch, args.name)
    del headers
    return _train_model(args, tracks, recipe, spec, groups, feature_paths=task_paths)


def classify(args: argparse.Namespace) -> Classification:
    from mirex_submission.models import bundle
    from mirex_submission.preflight import begin as checking

    _refuse_overwriting(args, args.test_list)
    paths = lists.read_paths(args.test_list)
    model = bundle.load(bundle.folder_of(args.scratch, args.name))
    checking.begin(args, checking.Headers(args.threads), model.spec, paths, recipe=model.recipe)
    return _classify_paths(args, paths, network=args.model, voting=args.vote)


def train_and_classify(args: argparse.Namespace) -> None:
    from mirex_submission.preflight import begin as checking

    recipe = _recipe(args)
    _refuse_overwriting(args, args.train_list, args.test_list, *filter(None, [args.groups]))
    if runtime.hosts()[1] > 1:
        raise UsageError("TF_CONFIG names several hosts: train on all of them, then classify on one")
    for path in filter(None, (args.output, args.probabilities)):
        check_writable(path)  # now, and not only after the training
    tracks, test_paths, groups = lists.read_all(
        lambda: lists.read_labelled(args.train_list), lambda: lists.read_paths(args.test_list), lambda: _groups(args)
    )
    headers, train_paths = checking.Headers(args.threads), [track.path for track in tracks]
    paths = [*train_paths, *test_paths]
    spec = _spec(args, paths, headers)
    checking.begin(
        args, headers, spec, paths, trained=tracks, recipe=recipe, heard=[train_paths] if args.strict else []
    )
    del headers
    _train_model(args, tracks, recipe, spec, groups)
    _classify_paths(args, test_paths)


def _groups(args: argparse.Namespace) -> dict[str, str]:
    """Full path -> group."""
    if not args.groups:
        return {}
    if not args.patience:
        raise UsageError("--groups: they are for --patience, which is not given")
    listed = lists.read_labelled(args.groups, min_classes=1, for_evaluator=False)
    return {full_path(track.path): track.label for track in listed}


def _train_model(
    args: argparse.Namespace,
    tracks: list[Track],
    recipe: Recipe,
    spec: FeatureSpec,
    groups: dict[str, str],
    feature_paths: Sequence[str] = (),
) -> Path:
    from mirex_submission.runs import submission

    return submission.train(
        args.scratch,
        tracks,
        recipe,
        spec,
        threads=args.threads,
        feature_paths=feature_paths,
        name=args.name,
        max_bad=args.max_bad / 100,
        strict=args.strict,
        device=args.device,
        restart=args.restart,
        save_every_s=args.checkpoint_every,
        time_limit_s=math.inf if args.time_limit is None else args.time_limit,
        picture=not args.no_picture,
        tensorboard=Path(args.tensorboard).absolute() if args.tensorboard else None,
        groups=groups,
    )


def _classify_paths(
    args: argparse.Namespace, paths: list[str], *, network: str | None = None, voting: str | None = None
) -> Classification:
    from mirex_submission.runs import submission

    return submission.classify(
        args.scratch,
        paths,
        args.output,
        threads=args.threads,
        name=args.name,
        probabilities=args.probabilities,
        strict=args.strict,
        device=args.device,
        network=network,
        voting=voting,
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    from mirex_submission.runs import submission

    recipe = Recipe(**{name: getattr(args, name) for name in Recipe.__dataclass_fields__})
    submission.check_sizes(recipe, n_bands=args.bands, n_frames=args.frames)
    return recipe


def check(args: argparse.Namespace) -> None:
    from mirex_submission.preflight import begin as checking

    checking.check(args, _recipe(args))


def export(args: argparse.Namespace) -> None:
    from mirex_submission.models import export as exporting

    exporting.export(
        Path(args.bundle).absolute(), args.format, args.output, audio_paths=args.audio or (), threads=args.threads
    )


def doctor(args: argparse.Namespace) -> None:
    from mirex_submission.preflight import doctor

    doctor.report(args.device, threads=args.threads, as_json=args.json)


def _spec(args: argparse.Namespace, paths: list[str], headers: Headers, *, whole_task: bool = False) -> FeatureSpec:
    from mirex_submission.runs import submission

    if not getattr(args, "dry_run", False):
        make_folder(args.scratch)
    return submission.choose_spec(
        args.scratch,
        paths,
        rate=args.rate,
        n_bands=args.bands,
        n_frames=args.frames,
        threads=args.threads,
        whole_task=whole_task,
        headers=headers,
    )


def _refuse_overwriting(args: argparse.Namespace, *inputs: str) -> None:
    """Refuse an output that is one of the lists, the other output, or among what the scratch folder keeps."""
    kept = [os.path.realpath(args.scratch / name) for name in ("features", "model", "models")]
    taken = {os.path.realpath(path): path for path in inputs}
    for path in filter(None, (args.output, args.probabilities)):
        real = os.path.realpath(path)
        if any(real.startswith(f"{folder}/") for folder in kept):
            raise UsageError(f"{path}: lies among the features and models of {args.scratch}: give another name")
        if real in taken and not real.startswith("/dev/"):
            raise UsageError(f"{path}: is {taken[real]} too, which it would overwrite: give another name")
        taken[real] = path
