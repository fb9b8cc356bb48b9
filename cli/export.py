"""`gpunet export`: a trained network as a file for other programs."""

from __future__ import annotations

import os
from typing import Optional

import typer

from gpunet.cli import display
from gpunet.cli.options import text_option
from gpunet.errors import UsageError


def command(
    run: str = typer.Argument(..., metavar="RUN", help="Run folder or model file.", show_default=False),
    out: str = typer.Argument(
        ...,
        metavar="FILE",
        help="File to write: .onnx (extra onnx), .npz for NumPy alone, or .html, a page that computes by itself.",
        show_default=False,
    ),
    pixels: bool = typer.Option(
        False, "--pixels", help="Take uint8 pixels, 0 to 255, and scale them in the graph. [default: float32, 0 to 1]"
    ),
    data: Optional[str] = text_option(
        "--data", metavar="NAME|FOLDER", help="Data set that a page shows examples of. [default: the run's own]"
    ),
    data_dir: Optional[str] = text_option(
        "--data-dir", metavar="FOLDER", help="Folder that holds the data set's files."
    ),
) -> None:
    """Write a trained network in another format.

    The ONNX graph takes images (n, features) and gives logits, probabilities and class; any ONNX runtime runs it.
    A page (.html) holds the network and its arithmetic: any browser opens it, without a network, to draw digits for it
    or to fill in the fields of a table.

    \b
    Examples:
      gpunet export runs/first model.onnx
      gpunet export runs/first model.onnx --pixels
      gpunet export model.safetensors model.npz
      gpunet export runs/first page.html
    """
    from gpunet.cli.opened import open_run
    from gpunet.files import check_place
    from gpunet.network.export import FORMATS, export
    from gpunet.pictures import page
    from gpunet.pictures.style import check_suffix

    kind = check_suffix(out, (*FORMATS, *page.FORMATS), "a model")
    if kind not in page.FORMATS:
        if data is not None or data_dir is not None:
            raise UsageError(f"{out}: only a page (.html) shows examples; leave out --data and --data-dir.")
        model = open_run(run, with_data=False).model
        export(model, out, pixels=pixels)
    else:
        if pixels:
            raise UsageError(f"{out}: --pixels is for an ONNX graph; a page takes pixels as the network does.")
        check_place(out)
        # A model file does not say which data it was trained on; its page is made without examples.
        opened = open_run(run, data, data_dir, with_data=os.path.isdir(run) or data is not None)
        model = opened.model
        page.export_page(model, out, opened.data, name=opened.name)
    display.line(f"{out}: {model.description}, {os.path.getsize(out):,} bytes")
