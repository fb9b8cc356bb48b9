"""Lets `python -m gpunet` stand for the command `gpunet`."""

from __future__ import annotations

from gpunet.cli.app import main

if __name__ == "__main__":
    main()
