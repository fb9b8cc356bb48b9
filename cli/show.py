"""`gpunet show`: examples of a data set, the mistakes of a network, or the weights of its first layer, as pictures."""

from __future__ import annotations

from typing import Optional

import typer

from gpunet.cli import display
from gpunet.cli.opened import open_run
from gpunet.cli.options import choices, number_option, text_option
from gpunet.data.load import load_dataset
from gpunet.errors import UsageError
from gpunet.pictures.examples import Examples, rows_of
from gpunet.pictures.mistakes import Mistakes
from gpunet.pictures.picture import Subject
from gpunet.pictures.sheets import Sheet
from gpunet.pictures.style import check_format, save
from gpunet.pictures.weights import Weights
from gpunet.runs.settings import Settings


def command(
    data: Optional[str] = text_option(
        "--data", metavar="NAME", help="Data set. [default: the run's own; mnist-5k without a run]"
    ),
    data_dir: Optional[str] = text_option("--data-dir", metavar="DIR", help="Folder that holds the data set's files."),
    split: Optional[str] = text_option(
        "--split",
        metavar="NAME",
        help="train, validation or test. [default: train; for --mistakes test, if there is one]",
        completion=choices("train", "validation", "test"),
    ),
    digit: Optional[str] = text_option("--digit", "--class", metavar="N", help="Only examples of this class."),
    count: Optional[int] = number_option(
        "--count", "-n", least=1, help="How many. [default: as many as suit the terminal or the file]"
    ),
    seed: int = number_option("--seed", least=0, default=0, help="Another seed shows other examples."),
    run: Optional[str] = text_option("--run", metavar="RUN", help="Run folder or model file to look into."),
    mistakes: bool = typer.Option(
        False, "--mistakes", "--wrong", help="What the network gets wrong, the highest loss first."
    ),
    weights: bool = typer.Option(False, "--weights", help="What leads into each neuron of the first layer."),
    out: Optional[str] = text_option(
        "--out", "-o", metavar="FILE", help="Write a picture file (.png, .svg or .pdf) instead."
    ),
) -> None:
    """Show examples, mistakes, or the weights of the first layer, in the terminal or as a picture file.

    A caption is the label; under a mistake 6→2 is a six that was taken for a two. Of weights, positive
    ones are orange and negative ones blue; without colours + o O @ are positive and - x # negative.

    \b
    Examples:
      gpunet show
      gpunet show --digit 2 --out twos.png
      gpunet show --run runs/a --mistakes
      gpunet show --run model.safetensors --weights --out weights.png
    """
    if out is not None:
        check_format(out)
    if (mistakes or weights) and run is None:
        asked = "mistakes" if mistakes else "weights"
        raise UsageError(f"--{asked} needs a network; name its folder or file with --run.")
    if mistakes and weights:
        raise UsageError("--mistakes and --weights are two different sheets; ask for one of them.")
    if run is not None and not (mistakes or weights):
        raise UsageError("--run goes with --mistakes or --weights; say which to show.")
    sheet: Sheet
    if weights:
        assert run is not None
        sheet = Weights(open_run(run, data, data_dir, with_data=False).model, count)
    elif mistakes:
        assert run is not None
        opened = open_run(run, data, data_dir)
        part, name = opened.split(split)
        if digit is not None:
            assert opened.data is not None
            part = part.take(rows_of(opened.data, name, digit))
        sheet = Mistakes(Subject(opened.name, model=opened.model, split=part, split_name=name), count)
    else:
        with display.DownloadBar() as progress:
            whole = load_dataset(data or Settings().data, data_dir, progress)
        sheet = Examples(whole, split=split or "train", of_class=digit, count=count, seed=seed)
    if out is None:
        display.lines(sheet.terminal(display.canvas()))
    else:
        save(sheet.figure(), out)
        display.line(f"{sheet.title}, in {out}")
