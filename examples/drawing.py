"""What the lessons share: a picture of what came out, as a file.

`python examples/06_neurons.py FOLDER` writes it into that folder, which is made if it is not there; without one it is
`pictures` in the working directory. Pictures need matplotlib; without it a lesson says so and is otherwise the same.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpunet as gn


def save_picture(draw: Callable[..., Any], *what: Any, **options: Any) -> None:
    """Write the figure that `draw(*what, **options)` returns as FOLDER/LESSON.png, and say so in a line."""
    try:
        figure = draw(*what, **options)
    except gn.MissingExtra as error:
        print(f"\nno picture: {error}")
        return
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures") / f"{Path(sys.argv[0]).stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    gn.plots.save(figure, path)
    print(f"\na picture of it: {path}")
