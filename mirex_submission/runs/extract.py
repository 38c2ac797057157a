"""Extract the features of all tracks of a list, as bin/extractFeatures.sh does."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirex_submission.protocol import lists
from mirex_submission.protocol.in_memory import ListSource
from mirex_submission.protocol.tables import TableOptions
from mirex_submission.runs.options import ExtractionOptions, FeatureOptions, RunOptions, check_recipe
from mirex_submission.runs.scratch import choose_specs, scratch_folder
from mirex_submission.system.atomic import clear_leftovers, make_folder
from mirex_submission.system.environment import prepared
from mirex_submission.system.option import check_none_left, check_options, with_fields
from mirex_submission.system.workers import Workers
from mirex_submission.training.recipe import AnyRecipe, Recipe, as_recipe

if TYPE_CHECKING:
    from mirex_submission.features.extraction import Extracted

log = logging.getLogger(__name__)


def extract(
    scratch: str | os.PathLike[str],
    feature_list: ListSource,
    *,
    recipe: AnyRecipe | str = Recipe(),
    features: FeatureOptions = FeatureOptions(),
    extraction: ExtractionOptions = ExtractionOptions(),
    tables: TableOptions = TableOptions(),
    run: RunOptions = RunOptions(),
    **fields: Any,
) -> dict[str, Extracted]:
    """Extract the features of every readable track for a recipe and store them in the scratch folder.

    Parameters
    ----------
    scratch : path
        Folder for features and models, kept between runs.
    feature_list : list file, folder, table or audio file, or paths in memory
        All tracks of a task; for a folder, all audio files in it and its subfolders.
    recipe : Recipe, ViewRecipe or name
        "paper": log-Mel frames. "modulation": the vectors of views.
    features, extraction, tables, run : FeatureOptions, ExtractionOptions, TableOptions, RunOptions
        Sizes of the features; where they are extracted; columns of a table; threads and strictness.
    **fields
        Single fields of these dataclasses, such as threads=2.

    Returns
    -------
    dict of str to Extracted
        Result of each path. Without features, `content` (the hash of the audio) is empty and `reason` says why.

    Raises
    ------
    ListError
        The list has problems.
    AudioError
        More than half of the tracks (with `strict` one track) are unreadable; the other features are stored.
    StorageError
        The features cannot be written.
    UsageError
        The options contradict each other.

    Examples
    --------
    With `features.txt` in the current folder:

    >>> from mirex_submission import extract
    >>> records = extract("scratch", "features.txt")
    >>> [path for path, record in records.items() if not record.content]  # the unreadable tracks
    []
    """
    check_options(
        features=(features, FeatureOptions),
        extraction=(extraction, ExtractionOptions),
        tables=(tables, TableOptions),
        run=(run, RunOptions),
    )
    recipe = as_recipe(recipe)
    features, extraction = with_fields(fields, features), with_fields(fields, extraction)
    tables, run = with_fields(fields, tables), with_fields(fields, run)
    check_none_left(fields)
    check_recipe(recipe, features)
    scratch = scratch_folder(scratch)
    extraction.check_scheduler()
    with prepared(scratch, threads=run.threads):
        from mirex_submission.features import extraction as extracting
        from mirex_submission.features.headers import Headers
        from mirex_submission.features.list_sources import open_list
        from mirex_submission.features.store import FeatureStore
        from mirex_submission.preflight import checks
        from mirex_submission.preflight.limits import check_readable
        from mirex_submission.runs import pictures

        # A cluster has its own number of processors.
        n_jobs = run.threads if extraction.local else -1
        workers = Workers(n_jobs, extraction.backend, extraction.scheduler, run.track_limit)
        paths = lists.read_paths(open_list("feature_list", feature_list, labelled=False, tables=tables))
        make_folder(scratch)
        headers = Headers(run.threads, run.track_limit)
        specs = choose_specs(scratch, paths, recipe, features, headers, whole_task=True)
        share = share_of(paths, extraction.shard)
        if not run.no_check:
            n_jobs = run.threads if workers.local else 0
            checks.begin(
                checks.PlannedRun(
                    scratch, specs, share, readable=[share], strict=run.strict, threads=run.threads, n_jobs=n_jobs
                ),
                headers,
            )
        del headers  # the headers of a million files take 200 MB
        clear_leftovers(scratch)
        plots = Path(extraction.plot).absolute() if extraction.plot else None
        if plots:
            make_folder(plots)  # fails now instead of after the extraction
        if extraction.shard[1] > 1:
            log.info("shard %d of %d: %d of %d tracks", *extraction.shard, len(share), len(set(paths)))
        stores = [FeatureStore(scratch, spec) for spec in specs]
        records = extracting.extract(share, stores, workers, verify=extraction.verify)
        readable = [path for path, record in records.items() if record.content]
        if plots:
            pictures.draw_all(readable, stores, plots, workers)
        check_readable(readable, records, strict=run.strict)
        return records


def share_of(paths: Sequence[str], shard: tuple[int, int]) -> list[str]:
    """Return the i-th of n shares of the distinct paths, counted from 1; `shard` is (i, n)."""
    return list(dict.fromkeys(paths))[shard[0] - 1 :: shard[1]]
