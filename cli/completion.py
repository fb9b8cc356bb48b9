"""Completion in bash, which breaks words at colons and equals signs: `adam:beta1=0.8` comes as five words."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def whole_words() -> Iterator[None]:
    """Where bash asks for completions inside a `with` block: have its words whole, and answer it with the part of each
    completion that stands in place of the word at which bash is.

    Other programs and shells see nothing of this.
    """
    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = os.environ.get("COMP_CWORD", "")
    if os.environ.get("_GPUNET_COMPLETE") != "complete_bash" or not at.isdigit() or int(at) >= len(words):
        yield
        return
    joined: list[str] = []
    for word in words[: int(at) + 1]:
        if joined and (re.fullmatch("[:=]+", word) or joined[-1].endswith((":", "="))):
            joined[-1] += word
        else:
            joined.append(word)
    os.environ.update(COMP_WORDS="\n".join(joined), COMP_CWORD=str(len(joined) - 1))
    known = "" if joined[-1] == words[int(at)] else re.sub("[^:=]*$", "", joined[-1])
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer):
            yield
    finally:
        sys.stdout.write("".join(f"{line.removeprefix(known)}\n" for line in answer.getvalue().splitlines()))
