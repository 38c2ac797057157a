"""The report of an evaluation as one HTML page."""

from mirex_submission.system.drawing import load_matplotlib

load_matplotlib()  # before the modules of this folder import it
