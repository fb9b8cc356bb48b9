"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages."""
    return [text for name, text in FENCE.findall(page.read_text(encoding="utf-8")) if name in languages]


def shell_lines(page: Path) -> list[str]:
    """What a page has its reader type into a shell, and what that answers; continued lines are one."""
    texts = blocks(page, "console", "sh", "bash", "shell")
    return [line for text in texts for line in re.sub(r"\\\n", " ", text).splitlines()]
