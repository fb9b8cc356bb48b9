"""The figure of the pictures; the only module that imports matplotlib as it is imported itself."""

from __future__ import annotations

import io

import matplotlib.figure

from gpunet.pictures.style import style


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook shows without `%matplotlib inline` and without pyplot."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """A PNG of 192 dots per inch, and the size to show it in: half of that, sharp on fine screens too."""
        stream = io.BytesIO()
        with style():
            self.savefig(stream, format="png", dpi=192)
        width, height = self.get_size_inches()
        return stream.getvalue(), {"width": round(96 * width), "height": round(96 * height)}
