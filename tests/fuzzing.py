"""How often a test of damaged and made-up input tries: FUZZ times as often as it says, in an ordinary run once."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings


def tries(count: int, **options: Any) -> Any:
    """The settings of a test that tries `count` inputs where FUZZ is not set; `options` as of `hypothesis.settings`."""
    return settings(max_examples=count * int(os.environ.get("FUZZ", "1")), deadline=None, **options)
