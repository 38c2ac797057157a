"""An evaluation as one page of HTML."""

from mirex_submission.system.drawing import load_matplotlib

load_matplotlib()  # before the modules of this folder import it
