"""`gpunet lr-find`: which learning rates a network learns with."""

from __future__ import annotations

import json as json_module
from typing import Any, Optional

import typer

from gpunet.backend import get_backend
from gpunet.cli import display
from gpunet.cli.options import number_option, resolve, setting_options, text_option
from gpunet.data.folders import read_once
from gpunet.errors import UsageError
from gpunet.files import check_place
from gpunet.runs.settings import build_dataset, build_model, option
from gpunet.training.rate_finder import DECIDED, find_learning_rate

#: Settings that say how a whole run goes, of which there is none.
UNUSED = ("lr", "schedule", "metric", "distributed", *DECIDED)


@setting_options
def command(
    given: dict[str, str],
    lowest: float = typer.Option(1e-6, "--lowest", metavar="X", help="The rate to begin with."),
    highest: float = typer.Option(10.0, "--highest", metavar="X", help="The rate to end with."),
    steps: int = number_option("--steps", least=10, default=200, help="Iterations from the one to the other."),
    config: Optional[str] = text_option(
        "--config", metavar="FILE", help="Take settings from a TOML or JSON file first."
    ),
    out: Optional[str] = text_option(
        "--out", "-o", metavar="FILE", help="Draw the picture into a file (.png, .svg, .pdf)."
    ),
    json: bool = typer.Option(False, "--json", help="Write one line of JSON and nothing else."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Write only the suggestion."),
) -> None:
    """Find a learning rate: train for some iterations while it rises, and see what the loss does.

    With small rates the loss stays, with good ones it falls, with large ones it rises; there the test ends. A tenth
    of the rate with the lowest loss is suggested. Nothing is kept.

    \b
    Examples:
      gpunet lr-find
      gpunet lr-find --hidden 200,100 --optimizer adam
      gpunet lr-find --data mnist --out rates.png
    """
    for name in UNUSED:
        if name in given:
            raise UsageError(f"{option(name)}: the test decides this itself; leave it out.")
    if out is not None:
        from gpunet.pictures.style import check_format, style

        check_format(out)
        check_place(out)
        with style():  # a missing matplotlib is said before the work and not after it
            pass
    with display.DownloadBar(quiet=quiet or json) as progress, read_once():
        settings = resolve(given, config, progress=progress)
        data = build_dataset(settings, progress)
    options: dict[str, Any] = {name: value for name, value in settings.options().items() if name not in UNUSED}
    test = find_learning_rate(
        build_model(settings, data, get_backend(settings.device)), data, optimizer=settings.make_optimizer(),
        lowest=lowest, highest=highest, steps=steps, **options,
    )  # fmt: skip
    if json:
        told = {"event": "rates", "suggestion": test.suggestion, "rates": test.rates.tolist()}
        print(json_module.dumps({**told, "losses": test.losses.tolist(), "smoothed": test.smoothed.tolist()}))
        return
    from gpunet.pictures.rates import Rates

    picture = Rates(test)
    if out is not None:
        from gpunet.pictures.style import save

        save(picture.figure(), out)
        if not quiet:
            display.line(out)
    elif not quiet:
        display.lines(picture.terminal(display.canvas()))
    if test.suggestion is None:
        display.line("no rate lowers the loss; look at the data and the network, or try more --steps")
    else:
        display.line(f"suggested: --lr {test.suggestion:.2g}")
