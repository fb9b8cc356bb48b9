"""Writes docs/cli.md, the reference of the command line, from the commands themselves.

    python scripts/make_cli_reference.py           write it
    python scripts/make_cli_reference.py --check   exit with 1 if it is not up to date

A test calls `reference()` too, so a changed option that is not in the page fails there.
"""

from __future__ import annotations

import html
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from gpunet.cli.app import COMMANDS, app

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

INTRODUCTION = """\
# Command line

<!-- Written by scripts/make_cli_reference.py; change the commands, not this page. -->

`gpunet COMMAND --help` shows all of this in the terminal.

{commands}

## Conventions

| | |
|---|---|
| Exit code | 0 success; 1 failure; 2 a wrong command line or setting; 130 stopped by Ctrl-C, 143 by SIGTERM |
| Errors | one sentence on standard error: what is wrong, where, and what to do |
| `--json` | JSON lines on standard output and nothing else; progress goes to standard error |
| In a pipe | plain lines: no colours, no moving cursor |
| `NO_COLOR`, `FORCE_COLOR` | no colours; colours even in a pipe |
| `COLUMNS` | the width of help texts and of pictures made of characters, where it is not a terminal's |
| `OMP_NUM_THREADS` | how many CPU threads there are to take |
| `GPUNET_DATA` | folder to look for data sets in first |
| `GPUNET_CACHE` | folder for downloads, in place of the user's cache |
| `GPUNET_MIRROR` | address of a server of your own that downloads are tried from first |
| `GPUNET_DEBUG` | with `1`, the traceback of an unexpected error is shown |

## Completion

Commands, options and the names of activations, optimizers, data sets … are completed in bash, zsh and fish. Typed in
the shell that you use,

```console
$ gpunet --install-completion
```

adds the completion to its startup file; it works in the next terminal. To try it, or to put it elsewhere, have it
shown:

```console
$ eval "$(gpunet --show-completion)"          # bash and zsh
$ gpunet --show-completion | source           # fish
```
"""


def reference() -> str:
    """The page."""
    group = typer.main.get_command(app)
    root = group.make_context("gpunet", [], resilient_parsing=True)
    names = group.list_commands(root)
    table = ["| command | |", "|---|---|"]
    table += [f"| [`gpunet {name}`](#gpunet-{name}) | {COMMANDS[name]} |" for name in names]
    parts = [INTRODUCTION.format(commands="\n".join(table))]
    for name in names:
        command = group.get_command(root, name)
        parts += described(command, f"gpunet {name}", root, 2)
    return "\n".join(parts).rstrip() + "\n"


def described(command: Any, path: str, parent: Any, level: int) -> Iterator[str]:
    """A command, and the commands under it, as Markdown."""
    context = command.make_context(path, [], parent=parent, resilient_parsing=True)
    context.info_name = path.rpartition(" ")[2]
    text, examples = split_help(command.help or "")
    yield f"\n{'#' * level} {path}\n"
    yield text
    if hasattr(command, "list_commands"):
        if examples:
            yield f"\n```console\n{examples}\n```"
        for name in command.list_commands(context):
            yield from described(command.get_command(context, name), f"{path} {name}", context, level + 1)
        return
    arguments = [p for p in command.get_params(context) if p.param_type_name == "argument"]
    usage = " ".join([path, *(term(p, context) for p in arguments), "[OPTIONS]"])
    yield f"\n```text\n{usage}\n```"
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:
            continue
        fallback = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panel = getattr(parameter, "rich_help_panel", None) or fallback
        name, default, meaning = term(parameter, context), *meant(record[1])
        panels.setdefault(panel, []).append(f"| {code(name)} | {escaped(default)} | {escaped(meaning)} |")
    for panel in sorted(panels, key=lambda name: (name != "Arguments", name == "Options")):
        yield f"\n**{panel}**\n\n| | default | |\n|---|---|---|"
        yield "\n".join(panels[panel])
    if examples:
        yield f"\n**Examples**\n\n```console\n{examples}\n```"


def term(parameter: Any, context: Any) -> str:
    """An option or argument as it is written in a table."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted([*parameter.opts, *parameter.secondary_opts], key=len))
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.make_metavar(context)}"
    return f"{names}{value}"


def without_ranges(text: str) -> str:
    """An option's help without the parser's own remarks, such as [x>=1] and [required]."""
    text = re.sub(r"\s*\[(required|[^\[\]:]*\bx[<>][^\[\]:]*)\]", "", text)
    return re.sub(r"; *[^\[\];]*\bx[<>][^\[\];]*\]", "]", text)


def meant(text: str) -> tuple[str, str]:
    """The default and the sentence of an option's help."""
    text = without_ranges(" ".join(text.split()))
    found = re.search(r"\s*\[default: ((?:[^\[\]]|\[[^\]]*\])*)\]\s*", text)
    if found is None:
        return "", text
    return found[1].rstrip("."), (text[: found.start()] + " " + text[found.end() :]).strip()


def split_help(text: str) -> tuple[str, str]:
    """The paragraphs of a docstring, and its examples as lines of a console."""
    body, _, examples = inspect.cleandoc(text).partition("\b")
    lines = [line.strip() for line in examples.strip().splitlines()[1:]]
    return body.strip(), "\n".join(f"$ {line}" for line in lines if line)


def code(text: str) -> str:
    """Code for a cell of a table. A bar in it must be written so that every Markdown reader takes it for one."""
    return f"`{text}`" if "|" not in text else f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    page = reference()
    if "--check" not in arguments:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print("docs/cli.md is not up to date; run: python scripts/make_cli_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
