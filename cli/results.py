"""The result of a training in one line."""

from __future__ import annotations

from typing import Any

from gpunet.wording import figure


def result_line(result: dict[str, Any]) -> str:
    """The metrics of each split in one line, out of a result as JSON has it."""
    named = [
        (split, name.removeprefix(f"{split}_").replace("_", " "), value)
        for split in ("test", "validation", "train")
        for name, value in result.items()
        if name.startswith(f"{split}_") and name not in (f"{split}_loss", "train_seconds")
    ]
    return ", ".join(f"{split} {name} {figure(value)}" for split, name, value in named if value is not None)
