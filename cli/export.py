"""`gpunet export`: a trained network as a file for other programs."""

from __future__ import annotations

import os

import typer

from gpunet.cli import display


def command(
    run: str = typer.Argument(..., metavar="RUN", help="Run folder or model file.", show_default=False),
    out: str = typer.Argument(
        ..., metavar="FILE", help="File to write: .onnx (extra onnx) or .npz, for NumPy alone.", show_default=False
    ),
    pixels: bool = typer.Option(
        False, "--pixels", help="Take uint8 pixels, 0 to 255, and scale them in the graph. [default: float32, 0 to 1]"
    ),
) -> None:
    """Write a trained network in another format.

    The ONNX graph takes images (n, features) and gives logits, probabilities and class; any ONNX runtime runs it.

    \b
    Examples:
      gpunet export runs/first model.onnx
      gpunet export runs/first model.onnx --pixels
      gpunet export model.safetensors model.npz
    """
    from gpunet.cli.opened import open_run
    from gpunet.network.export import check_format, export

    check_format(out)
    model = open_run(run, with_data=False).model
    export(model, out, pixels=pixels)
    display.line(f"{out}: {model.description}, {os.path.getsize(out):,} bytes")
