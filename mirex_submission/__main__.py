"""`python -m mirex_submission` is `mirex-submission`."""

import sys

from mirex_submission.system.import_path import leave_out_current_folder

if __name__ == "__main__":
    leave_out_current_folder()  # `python -m` puts it first
    from mirex_submission.cli.main import main

    sys.exit(main())
