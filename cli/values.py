"""How what was typed becomes values: what needs no conversion is left as it is.

Newer versions of typer have pydantic read every value, a text and one that was not given too, and to import pydantic
and make its readers takes longer than to import NumPy.
"""

from __future__ import annotations

from typing import Any, Optional, get_type_hints

#: The types of parameters whose values are what was typed.
TEXTS = (str, Optional[str], list[str], Optional[list[str]])


def leave_as_typed(command: Any, ctx: Any) -> None:
    """Have a command take texts as they were typed, and defaults as they are; the rest is converted as ever."""
    hints = get_type_hints(command.callback, include_extras=True) if command.callback is not None else {}
    for parameter in command.get_params(ctx):
        _leave(parameter, hints.get(parameter.name) in TEXTS)


def _leave(parameter: Any, text: bool) -> None:
    convert = parameter.process_value
    ready: tuple[type, ...] = (bool, int, float, *([str, list, tuple] if text else []))

    def process_value(ctx: Any, value: Any) -> Any:
        if value is None and not parameter.required:
            value = () if parameter.multiple or parameter.nargs == -1 else None
        elif not isinstance(value, ready) or value in ((), []):
            return convert(ctx, value)
        return value if parameter.callback is None else parameter.callback(ctx, parameter, value)

    parameter.process_value = process_value
