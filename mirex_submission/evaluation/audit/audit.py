"""The audit of a task: all checks in their order, then the files and the summary."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mirex_submission.errors import ListError
from mirex_submission.evaluation.audit.records import AUDIT, Audit, Problem
from mirex_submission.evaluation.audit.task import read_task
from mirex_submission.evaluation.options import AuditOptions
from mirex_submission.system.atomic import check_writable, write_file
from mirex_submission.system.progress import printable
from mirex_submission.version import __version__

log = logging.getLogger(__name__)
