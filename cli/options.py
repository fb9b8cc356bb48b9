"""The options of a command that trains: one for each setting, made from the table in `gpunet/runs/settings.py`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, Optional, get_type_hints

import typer
from typer.models import ArgumentInfo

from gpunet import readers
from gpunet.errors import GpunetError, UsageError
from gpunet.registry import Registry
from gpunet.runs.initial import hidden_layers
from gpunet.runs.recipes import settings_for
from gpunet.runs.settings import FIELDS, Settings, layered, option, read_file

#: What completion offers for a device.
DEVICES = ("auto", "cpu", "cuda")


def setting_options(function: Callable[..., Any], names: Collection[str] = tuple(FIELDS)) -> Callable[..., Any]:
    """Give a command an option for every setting, or for those of these names.

    `function(given, **others)` gets the settings that stood on the command line as the dict `given`, name to
    text as it was typed, and its own options by name; its own options come after those of the settings.
    """
    own = own_parameters(function, "given")

    def command(**values: Any) -> Any:
        given = {name: values.pop(name) for name in names}
        return function({name: text for name, text in given.items() if text is not None}, **values)

    parameters = [_parameter(name, FIELDS[name]) for name in names]
    # Arguments stand before options, whoever names them.
    first = [parameter for parameter in own if isinstance(parameter.default, ArgumentInfo)]
    parameters = [*first, *parameters, *(parameter for parameter in own if parameter not in first)]
    return with_parameters(command, function, parameters)


def own_parameters(function: Callable[..., Any], but: str) -> list[inspect.Parameter]:
    """The parameters of a function that are options or arguments of a command already, which is all but one."""
    hints = get_type_hints(function)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != but
    ]


def with_parameters(
    command: Callable[..., Any], function: Callable[..., Any], parameters: Sequence[inspect.Parameter]
) -> Callable[..., Any]:
    """A command that has these parameters for typer, and the name and the help of `function`."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__, command.__name__ = function.__doc__, function.__name__
    return command


def text_option(
    *names: str, metavar: str, help: str, panel: str | None = None, completion: Callable[..., Any] | None = None
) -> Any:
    """An option of these names for a text, None where it is not given; the help says what it is then."""
    return typer.Option(
        None, *names, metavar=metavar, help=help, show_default=False, rich_help_panel=panel, autocompletion=completion
    )


def number_option(
    *names: str, least: float, default: float | None = None, metavar: str = "N", help: str, panel: str | None = None
) -> Any:
    """An option of these names for a number from `least` on, a whole one if `least` is whole; None without default."""
    reader = readers.whole(least) if isinstance(least, int) else readers.number(least)

    def read(value: Any) -> Any:
        try:
            return reader(names[0], value)
        except UsageError as error:
            raise Refused(str(error)) from None

    return typer.Option(
        default,
        *names,
        parser=read,
        metavar=metavar,
        help=help,
        show_default=default is not None,
        rich_help_panel=panel,
    )


class Refused(GpunetError):
    """A value of an option that cannot be used; no `ValueError`, of which the parser makes sentences of its own."""

    exit_code = 2


def _parameter(name: str, field: Any) -> inspect.Parameter:
    """A setting as a parameter of a typer function: always text, so that one place reads and refuses values."""
    details = field.metadata
    default = details["shown"] if details["shown"] is not None else field.default
    info = typer.Option(
        None,
        option(name),
        help=details["help"] + ("" if default is None else f" [default: {default}]"),
        metavar=details["metavar"],
        rich_help_panel=details["group"],
        show_default=False,
        autocompletion=_completion(details["names"]),
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=Optional[str])


def choices(*names: str) -> Callable[[str], list[str]]:
    """What completes one of a few names."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def _completion(names: Any) -> Callable[[str], list[str]] | None:
    """What completes a name, each further name of a list, and the hyperparameters of an entry behind its colon."""
    if not names:
        return None

    def complete(incomplete: str) -> list[str]:
        entry, colon, values = incomplete.partition(":")
        if colon and isinstance(names, Registry):
            before, comma, last = values.rpartition(",")
            known = names.parameters(entry) if entry in names else ()
            own = [
                key for key in known if key.startswith(last) and key not in FIELDS
            ]  # those have options of their own
            return [f"{entry}:{before}{comma}{key}=" for key in own]
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last)]

    return complete


def resolve(
    given: dict[str, Any], config: str | None = None, folds: int | None = None, progress: Any = None
) -> Settings:
    """The settings of a run: the recipe for the data, the file `config` on top, what stood on the command line on top
    of that.

    Args:
        given: what stood on the command line.
        config: a file of settings.
        folds: how many parts of the data are held out in turn, each from a network of its own.
        progress: a `DownloadBar`, to show what goes on.

    Raises:
        UsageError: a value cannot be used, in the file or on the command line.
        DataError: the file cannot be read, or the data cannot be had.
    """
    from_file = {} if config is None else read_file(config)
    values = layered(from_file, given)
    if values.get("init_from") is not None and "hidden" not in values:
        values = {**hidden_layers(values["init_from"]), **values}
    parted = {} if folds is None or "validation" in values else {"validation": f"1of{folds}"}
    try:
        trials = None if progress is None else progress.trials
        settings = settings_for({**values, **parted}, progress=progress, trials=trials)
        return settings.with_changes(validation="auto") if parted else settings
    except UsageError:
        Settings.from_dict(from_file, source=config)  # its own mistakes are reported as the file's
        raise
