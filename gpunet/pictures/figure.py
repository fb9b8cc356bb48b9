"""The figure of the pictures. It is made when it is first asked for, so that only a picture needs matplotlib."""

from __future__ import annotations

import io
from typing import Any

from gpunet.pictures.style import style


def __getattr__(name: str) -> Any:
    if name != "Figure":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import matplotlib.figure

    class Figure(matplotlib.figure.Figure):
        """A matplotlib figure that a notebook shows without `%matplotlib inline` and without pyplot."""

        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            """A PNG of 192 dots per inch, and the size to show it in: half of that, sharp on fine screens too."""
            stream = io.BytesIO()
            with style():
                self.savefig(stream, format="png", dpi=192)
            width, height = self.get_size_inches()
            return stream.getvalue(), {"width": round(96 * width), "height": round(96 * height)}

    Figure.__qualname__ = "Figure"  # where pickle looks for it
    globals()["Figure"] = Figure
    return Figure
