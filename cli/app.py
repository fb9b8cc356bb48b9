"""The program `gpunet`: the table of its commands and the way into them.

A command is one file in `cli/` and one line in `COMMANDS`. The file `cli/NAME.py`, with _ for -, defines either

    def command(...) -> None:        a typer function: its docstring is the help, its parameters the options
    app = typer.Typer(...)           a group with commands of its own (such as `gpunet data list`)

and is imported only when that command runs, is completed or is asked for its help; `gpunet --help` reads
the table alone and imports neither NumPy nor CuPy. The help is typer's: in a terminal with a panel for the options of
each `rich_help_panel`, in a pipe plain. A command raises `GpunetError`s and lets everything else pass:
`cli/errors.py` turns what comes out into one sentence and an exit code.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from gpunet.cli import errors
from gpunet.cli.completion import whole_words
from gpunet.cli.loading import loading
from gpunet.cli.values import leave_as_typed
from gpunet.errors import UsageError
from gpunet.extensions import found, load, package

#: Entry points of installed packages that are commands too: modules like those in `cli/`.
GROUP = "gpunet.commands"
COMMANDS: dict[str, str] = {
    "train": "Train a network; without options, the default one on the bundled digits.",
    "evaluate": "Measure a trained network: loss, accuracy, confusions, worst mistakes.",
    "predict": "Say what a trained network sees in image files.",
    "show": "Show examples, mistakes, or the weights of the first layer.",
    "lr-find": "Find a learning rate before training.",
    "sweep": "Train over several values of any option and compare the results.",
    "runs": "List runs and compare them.",
    "plot": "Draw the curves and pictures of one or many runs.",
    "export": "Write a trained network in another format.",
    "data": "List, fetch, inspect and verify data sets.",
    "devices": "Say which devices there are and whether they work.",
}

#: A hyphen at which no line is broken.
WHOLE = "\u2011"


def prepare_help(command: Any, ctx: Any) -> None:
    """Have a command's help show panels and colours in a terminal, and neither in a pipe."""
    from gpunet.cli.display import colours

    command.rich_markup_mode = "rich" if colours(sys.stdout) else None
    parameters = command.get_params(ctx)
    for each in parameters:
        if each.param_type_name == "argument":
            each.display_type_rich = lambda ctx: None  # a name such as RUN says it better than <str>
    if command.rich_markup_mode:
        from rich.markup import escape
        from typer import rich_utils

        # The columns that are empty take no room.
        rich_utils.STYLE_OPTIONS_TABLE_PADDING = (0, 1, 0, 0)  # type: ignore[assignment]
        paragraphs = (command.help or "").split("\n\n")
        command.help = "\n\n".join(text if "\b" in text else " ".join(text.split()) for text in paragraphs)
        for each in (command, *parameters):
            each.help = escape(getattr(each, "help", None) or "")
            if getattr(each, "is_flag", False):
                each.metavar = ""
    else:
        for each in (command, *parameters):
            each.help = re.sub(r"(?<=\w)-(?=\w)", WHOLE, getattr(each, "help", None) or "")


class Typed:
    """What commands and groups of commands do alike, each before the class of typer that comes after it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; texts are left as they were typed, and an error knows its command."""
        leave_as_typed(self, ctx)
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc]
        except Exception as error:
            if getattr(error, "ctx", ctx) is None:  # the parser does not say it of an option without its value
                error.ctx = ctx  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page; no name is broken at its hyphen."""
        prepare_help(self, ctx)
        super().format_help(ctx, formatter)  # type: ignore[misc]
        formatter.buffer = [text.replace(WHOLE, "-") for text in formatter.buffer]


class Command(Typed, TyperCommand):
    """A command that refuses an empty text for every option and argument.

    An empty text is what an unset shell variable leaves, and as a path it would be the current folder.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command, if no value is empty."""
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            if "" in (value if isinstance(value, (list, tuple)) else (value,)):
                positional = parameter.param_type_name == "argument"
                name, way = (
                    (parameter.metavar, "") if positional else (max(parameter.opts, key=len), ", or leave it out")
                )
                raise UsageError(f"{name} is empty (an unset shell variable?); give a value{way}.")
        with errors.running():
            return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The options and the arguments by their names."""
        return ["[OPTIONS]", *(str(each.metavar) for each in self.params if each.param_type_name == "argument")]


class Group(Typed, TyperGroup):
    """A group of commands."""


class CommandGroup(Group):
    """The commands of `COMMANDS`, each imported when it is needed and not before."""

    listing = False  # True while only names and one-line helps are wanted

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the table, and those of installed packages."""
        return list(dict.fromkeys([*COMMANDS, *found(GROUP)]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name, imported now (or a stand-in for it while listing), or None."""
        if cmd_name not in COMMANDS and cmd_name not in found(GROUP):
            return None
        return TyperCommand(name=cmd_name, help=summary(cmd_name)) if self.listing else load_command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page without importing any command."""
        self.listing = True
        super().format_help(ctx, formatter)
        self.listing = False

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the names of commands without importing any."""
        self.listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.listing = False


def summary(name: str) -> str:
    """What a command does in a line, without importing it."""
    return COMMANDS[name] if name in COMMANDS else f"Of the package {package(found(GROUP)[name])}."


def load_command(name: str) -> Any:
    """Import the module of a command and return the parser's command object."""
    here = name in COMMANDS
    with loading():
        module = importlib.import_module(f"gpunet.cli.{name.replace('-', '_')}") if here else load(found(GROUP)[name])
    if hasattr(module, "app"):
        module.app.info.name = name
        command = typer.main.get_command(module.app)
        command.help = command.help or summary(name)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name=name, cls=Command)(module.command)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=CommandGroup,
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
    with whole_words():
        return typer.main.get_command(app).main(prog_name="gpunet", standalone_mode=False)
