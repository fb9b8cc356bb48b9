"""The program `gpunet`: the table of its commands and the way into them.

A command is one file in `cli/` and one line in `COMMANDS`. The file `cli/NAME.py` defines either

    def command(...) -> None:        a typer function: its docstring is the help, its parameters the options
    app = typer.Typer(...)           a group with commands of its own (such as `gpunet data list`)

and is imported only when that command runs, is completed or is asked for its help; `gpunet --help` reads
the table alone and imports neither NumPy nor CuPy. Options of the same `rich_help_panel` stand under one
heading in the help. A command raises `GpunetError`s and lets everything else pass: `cli/errors.py` turns
what comes out into one sentence and an exit code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import textwrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gpunet.cli import errors
from gpunet.errors import UsageError

COMMANDS: dict[str, str] = {
    "train": "Train a network; without options, the default one on the bundled digits.",
    "evaluate": "Measure a trained network: loss, accuracy, confusions, worst mistakes.",
    "predict": "Say what a trained network sees in image files.",
    "show": "Show examples, mistakes, or the weights of the first layer.",
    "sweep": "Train over several values of any option and compare the results.",
    "plot": "Draw the curves and pictures of one or many runs.",
    "export": "Write a trained network in another format.",
    "data": "List, fetch, inspect and verify data sets.",
    "devices": "Say which devices there are and whether they work.",
}


def write_definitions(formatter: Any, rows: list[tuple[str, str]]) -> None:
    """Write (term, text) pairs in two columns; unlike the parser's own way, never breaks a name at its hyphen."""
    indent = " " * formatter.current_indent
    column = min(max(len(term) for term, _ in rows) + 2, max(12, formatter.width // 2 - 10))
    room = max(20, formatter.width - len(indent) - column)
    for term, text in rows:
        lines = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]
        if len(term) > column - 2:
            formatter.write(f"{indent}{term}\n")
        else:
            formatter.write(f"{indent}{term:<{column}}{lines.pop(0)}".rstrip() + "\n")
        for line in lines:
            formatter.write(f"{indent}{'':<{column}}{line}\n")


class Command(TyperCommand):
    """A command whose help lists the options under the heading of their panel, and ends with the examples.

    An empty text is refused for every option and argument: it is what an unset shell variable leaves, and as a
    path it would be the current folder.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command, if no value is empty."""
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if "" in (value if isinstance(value, (list, tuple)) else (value,)):
                if parameter.param_type_name == "argument":
                    raise UsageError(f"{argument_name(parameter)} is empty (an unset shell variable?); give a value.")
                name = max(parameter.opts, key=len)
                raise UsageError(f"{name} is empty (an unset shell variable?); give a value, or leave the option out.")
        with errors.running():
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The options and the arguments by their names."""
        positional = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *map(argument_name, positional)]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the help up to its examples."""
        self.help, whole = (self.help or "").partition("\b")[0].rstrip(), self.help
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = whole

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on a line that is not broken, so that it can be copied."""
        examples = inspect.cleandoc((self.help or "").partition("\b")[2]).splitlines()
        if examples:
            formatter.write_paragraph()
            formatter.write("".join(f"{line}\n" for line in examples))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each panel as a section, the arguments first and the general options last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                positional = parameter.param_type_name == "argument"
                term = argument_name(parameter) if positional else record[0]
                fallback = "Arguments" if positional else "Options"
                panel = getattr(parameter, "rich_help_panel", None) or fallback
                sections.setdefault(panel, []).append((term, without_ranges(record[1])))
        for panel in sorted(sections, key=lambda name: (name != "Arguments", name == "Options")):
            with formatter.section(panel):
                write_definitions(formatter, sections[panel])


def argument_name(argument: Any) -> str:
    """An argument as it stands in a usage line: RUN, or RUN... for one or more."""
    name = (argument.metavar or argument.name.upper()).rstrip(".")
    return f"{name}..." if argument.nargs == -1 else name


def without_ranges(text: str) -> str:
    """An option's help without the parser's own remarks, such as [x>=1] and [required]."""
    text = re.sub(r"\s*\[(required|[^\[\]:]*\bx[<>][^\[\]:]*)\]", "", text)
    return re.sub(r"; *[^\[\];]*\bx[<>][^\[\];]*\]", "]", text)


class Group(TyperGroup):
    """A group of commands whose help gives the first paragraph of each in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands."""
        rows = [(name, getattr(self.get_command(ctx, name), "help", None) or "") for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            write_definitions(formatter, [(name, text.partition("\n\n")[0]) for name, text in rows])


class CommandGroup(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is needed and not before."""

    listing = False  # True while only names and one-line helps are wanted

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the table whose module is there."""
        return [name for name in COMMANDS if importlib.util.find_spec(f"gpunet.cli.{name}")]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, imported now (or a stand-in for it while listing), or None."""
        if cmd_name not in COMMANDS or not importlib.util.find_spec(f"gpunet.cli.{cmd_name}"):
            return None
        if self.listing:
            return TyperCommand(name=cmd_name, help=COMMANDS[cmd_name])
        return load_command(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name; a mistyped name gets a suggestion."""
        # The suggestion for a mistyped name is made from self.commands, which would else stay empty.
        self.commands: dict[str, Any] = dict.fromkeys(self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands without importing any."""
        with formatter.section("Commands"):
            write_definitions(formatter, [(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the names of commands without importing any."""
        self.listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.listing = False


def load_command(name: str) -> Any:
    """Import the module of a command and return the parser's command object."""
    module = importlib.import_module(f"gpunet.cli.{name}")
    if hasattr(module, "app"):
        module.app.info.name = name
        command = typer.main.get_command(module.app)
        command.help = command.help or COMMANDS[name]
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name=name, cls=Command)(module.command)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=CommandGroup,
    rich_markup_mode=None,  # plain help: right at any width and in a pipe, and brackets stay brackets
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    """Neural networks from scratch: multilayer perceptrons on the CPU (NumPy) and the GPU (CUDA).

    \b
    Examples:
      gpunet train
      gpunet train --hidden 200,100 --optimizer adam --device auto
      gpunet train --help
    """
    if version:
        import gpunet

        typer.echo(f"gpunet {gpunet.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run() -> Any:
    """Read the command line and run its command; what goes wrong is raised."""
    return typer.main.get_command(app).main(prog_name="gpunet", standalone_mode=False)
