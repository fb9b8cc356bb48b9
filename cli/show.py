"""`gpunet show`: examples of a data set, the mistakes of a network, or the weights of its first layer, as pictures."""

from __future__ import annotations

import sys
from typing import Optional

import numpy as np
import typer

from gpunet.cli import display
from gpunet.cli.opened import open_run
from gpunet.data.dataset import Dataset, Split
from gpunet.data.load import load_dataset
from gpunet.errors import DataError, UsageError
from gpunet.network.evaluation import true_classes
from gpunet.network.mlp import MLP
from gpunet.pictures import sheets as pictures
from gpunet.pictures.sheets import Tile
from gpunet.pictures.tiles import picture, weight_tiles, worst_mistakes
from gpunet.runs.settings import Settings

#: Pictures on a sheet, unless --count says how many.
IN_TERMINAL, IN_FILE = 20, 100


def command(
    data: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--data",
        metavar="NAME|FOLDER",
        help="Data set. [default: the run's own; mnist-5k without a run]",
        show_default=False,
    ),
    data_dir: Optional[str] = typer.Option(  # noqa: UP045
        None, "--data-dir", metavar="FOLDER", help="Folder that holds the data set's files.", show_default=False
    ),
    split: Optional[str] = typer.Option(  # noqa: UP045
        None,
        "--split",
        metavar="NAME",
        help="train, validation or test. [default: train; for --wrong test, if there is one]",
        show_default=False,
    ),
    digit: Optional[str] = typer.Option(  # noqa: UP045
        None, "--digit", "--class", metavar="CLASS", help="Only examples of this class.", show_default=False
    ),
    count: Optional[int] = typer.Option(  # noqa: UP045
        None, "--count", "-n", min=1, metavar="N", help="Pictures. [default: 20; 100 in a file]", show_default=False
    ),
    seed: int = typer.Option(0, "--seed", min=0, metavar="N", help="Another seed shows other examples."),
    run: Optional[str] = typer.Option(  # noqa: UP045
        None, "--run", metavar="RUN|MODEL", help="Run folder or model file to look into.", show_default=False
    ),
    wrong: bool = typer.Option(False, "--wrong", help="What the network gets wrong, the most certain answers first."),
    weights: bool = typer.Option(False, "--weights", help="What leads into each neuron of the first layer."),
    out: Optional[str] = typer.Option(  # noqa: UP045
        None, "--out", "-o", metavar="FILE", help="Write an image file (.png) instead.", show_default=False
    ),
) -> None:
    """Show examples, mistakes, or the weights of the first layer, in the terminal or as an image file.

    A caption is the label; under a mistake "6 as 2" is a six that was taken for a two. Of weights, positive
    ones are orange and negative ones blue; without colours + o O @ are positive and - x # negative.

    \b
    Examples:
      gpunet show
      gpunet show --digit 2 --out twos.png
      gpunet show --run runs/a --wrong
      gpunet show --run model.safetensors --weights --out weights.png
    """
    if out is not None:
        pictures.check_format(out)
    if (wrong or weights) and run is None:
        raise UsageError(f"--{'wrong' if wrong else 'weights'} needs a network; name its folder or file with --run.")
    if wrong and weights:
        raise UsageError("--wrong and --weights are two different sheets; ask for one of them.")
    if run is not None and not (wrong or weights):
        raise UsageError("--run goes with --wrong or --weights; say which to show.")
    wanted = count or (IN_TERMINAL if out is None else IN_FILE)
    if run is not None:
        opened = open_run(run, data, data_dir, with_data=wrong)
        model, whole = opened.model, opened.data
    else:
        with display.DownloadBar() as progress:
            model, whole = None, load_dataset(data or Settings().data, data_dir, progress)
    if weights:
        assert model is not None
        tiles, title = _weights(model, wanted)
    else:
        assert whole is not None
        name = opened.split(split)[1] if wrong else split or "train"
        examples, names = _choose(whole, name, digit)
        if wrong:
            assert model is not None
            tiles, title = _mistakes(model, examples, wanted, f"{whole.name}, {name}")
        else:
            tiles, title = _examples(examples, names, wanted, seed, whole, name)
    if not tiles:
        display.line(title)
        return
    if out is not None:
        across, size = (10, 56) if len(tiles) > 12 else (5, 112)
        scale = max(1, size // max(tiles[0].pixels.shape[:2]))
        pictures.save(pictures.image(tiles, across, scale, title), out)
        display.line(f"{len(tiles)} pictures in {out}")
        return
    display.line(title)
    display.line()
    width, colour = display.picture_room()
    for text in pictures.terminal(tiles, width, colour):
        sys.stdout.write(f"{text}\n")


def _choose(whole: Dataset, split: str, digit: str | None) -> tuple[Split, list[str]]:
    """The examples of a split, or of one class in it, and the names of the classes."""
    splits = whole.splits()
    if split not in splits:
        raise UsageError(f"--split {split}: {whole.name} has {', '.join(splits)}; name one of them.")
    names = whole.class_names or [str(index) for index in range(max(whole.classes, 2))]
    examples = splits[split]
    if digit is None:
        return examples, names
    if digit not in names:
        raise UsageError(f"class {digit}: {whole.name} has no such class; its classes are {', '.join(names)}.")
    rows = np.flatnonzero(true_classes(examples.labels) == names.index(digit))
    if not len(rows):
        raise DataError(f"the {split} examples of {whole.name} have none of class {digit}.")
    return examples.take(rows), names


def _examples(
    split: Split, names: list[str], count: int, seed: int, whole: Dataset, name: str
) -> tuple[list[Tile], str]:
    """Examples drawn at random, as many of each class as there are to be had, in the order of the classes."""
    classes = true_classes(split.labels)
    order = np.random.default_rng(seed).permutation(len(classes))
    # The first of each class, then the second of each, and so on: a fair share for all.
    turn = np.empty(len(order), np.int64)
    counted: dict[int, int] = {}
    for place, row in enumerate(order.tolist()):
        label = int(classes[row])
        turn[place] = counted.get(label, 0)
        counted[label] = counted.get(label, 0) + 1
    rows = order[np.argsort(turn, kind="stable")][:count]
    rows = rows[np.argsort(classes[rows], kind="stable")]
    tiles = [Tile(picture(split.images[row], whole.image_shape), names[classes[row]]) for row in rows.tolist()]
    return tiles, f"{whole.name}, {name}: {len(tiles)} of {len(split):,} examples"


def _mistakes(model: MLP, split: Split, count: int, where: str) -> tuple[list[Tile], str]:
    """The network's mistakes."""
    found = worst_mistakes(model, split, len(split))
    tiles = [Tile(each.picture, f"{each.truth} as {each.answer}") for each in found[:count]]
    total = f"{len(found):,} of {len(split):,} wrong"
    if not found:
        return [], f"{where}: none of {len(split):,} wrong"
    return tiles, f"{where}: {total}" + (f", {len(tiles)} shown" if len(tiles) < len(found) else "")


def _weights(model: MLP, count: int) -> tuple[list[Tile], str]:
    """The first layer's weights, neuron by neuron; of many, those with the longest weight vectors."""
    found, numbers, limit = weight_tiles(model, count)
    total = model.sizes[1]
    names = (
        model.class_names if len(model.sizes) == 2 and model.class_names and len(model.class_names) == total else None
    )
    tiles = [
        Tile(pixels / limit, names[number] if names else str(number + 1), signed=True)
        for pixels, number in zip(found, numbers, strict=True)
    ]
    shown = f"{len(tiles)} of {total:,}" if len(tiles) < total else f"{total:,}"
    kind = "outputs" if len(model.sizes) == 2 else "neurons of the first layer"
    return tiles, f"{model.description}: weights into {shown} {kind}"
