"""This package's compiled kernel (csrc/), or None."""

from __future__ import annotations

from mirex_submission.system.compiled import load

kernel = load("mirex_submission.networks._kernel")
