"""`python -m mirex_submission` is `mirex-submission`."""

import sys

from mirex_submission.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
