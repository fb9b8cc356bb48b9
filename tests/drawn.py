"""What stands in a figure of matplotlib."""

from __future__ import annotations

import itertools
import warnings

from gpunet.pictures.style import style


def written(figure):
    """Everything written in a figure, as objects of matplotlib."""
    import matplotlib.text

    return [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def texts(figure):
    """Everything written in a figure."""
    return [text.get_text() for text in written(figure)]


def extents(texts):
    """Where texts stand in their figure, which is drawn for that; a warning is an error."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with warnings.catch_warnings(), style():
        warnings.simplefilter("error")
        FigureCanvasAgg(texts[0].figure.get_figure()).draw()
        return [text.get_window_extent() for text in texts]


def assert_apart(texts):
    """No text overlaps another one, and all are inside the figure."""
    boxes = extents(texts)
    page = texts[0].figure.get_figure().bbox
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0
        assert box.y1 <= page.y1
