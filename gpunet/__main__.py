"""The way into the program, as the command `gpunet` and as `python -m gpunet`.

Little is imported before Ctrl-C and errors are taken care of: the option parser and the command come after it.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from gpunet.cli import errors
from gpunet.cli.loading import loading


def main() -> None:
    """The console script `gpunet`: runs the command line and ends the process with its exit code."""
    errors.catch_signals()
    if not sys.warnoptions:  # NumPy's warnings are for programmers; what matters to users is told in sentences
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"  # for the processes of a sweep
    sys.exit(errors.run(_command_line))


def _command_line() -> Any:
    with loading():
        from gpunet.cli.app import run

    return run()


if __name__ == "__main__":
    main()
