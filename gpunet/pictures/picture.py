"""What a picture is: one thing to see in three forms, a figure, lines of text and a piece of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from gpunet.network.evaluation import Evaluation, evaluate
from gpunet.runs.history import History


@dataclass(frozen=True)
class Canvas:
    """What text is drawn on.

    Attributes:
        width: columns.
        colours: "truecolor", "256" or "standard" (16 of them), or None where there are none.
        encoding: of the stream that the text goes to.
    """

    width: int = 80
    colours: str | None = None
    encoding: str = "utf-8"

    def encodes(self, text: str) -> bool:
        """Whether the encoding has all characters of a text."""
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True


@dataclass
class Subject:
    """What pictures are drawn of; each takes what it needs.

    Attributes:
        name: of the run or the model file.
        histories: the records of one run or of several.
        model: the network, or None.
        split: the examples to ask it about, or None.
        split_name: what they are called, such as "test".
    """

    name: str
    histories: Sequence[History] = ()
    model: Any = None
    split: Any = None
    split_name: str = "test"

    @cached_property
    def evaluation(self) -> Evaluation:
        """The model's answers on the split; computed once for all pictures."""
        return evaluate(self.model, self.split)


@dataclass(frozen=True)
class Options:
    """What a user may say of a picture.

    Attributes:
        log_scale: a logarithmic axis for the loss.
        smooth: neighbours on either side in the moving mean of curves; None for one for every 50 records.
        count: small pictures on a sheet; None for as many as suit the form.
    """

    log_scale: bool = False
    smooth: int | None = None
    count: int | None = None


class Picture:
    """One thing to see. A new picture is a class of its own in a file of its own, and a line in `plots.PICTURES`.

    Attributes:
        name: on the command line and in the names of files.
        aliases: other options of the command line for it.
        help: what it shows, in a sentence.
        needs: "records", "model", or "examples" for a model and a split.
        heading: over its piece of a page.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    help: ClassVar[str]
    needs: ClassVar[str]
    heading: ClassVar[str]

    @classmethod
    def of(cls, subject: Subject, options: Options) -> Picture:
        """The picture of a subject.

        Raises:
            DataError: there is nothing to draw, or the subject is none for this picture.
        """
        raise NotImplementedError

    def figure(self) -> Any:
        """A matplotlib figure; a notebook shows it.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        raise NotImplementedError

    def terminal(self, canvas: Canvas) -> list[str]:
        """Lines of text, at most as wide as the canvas."""
        raise NotImplementedError

    def html(self) -> str:
        """A piece of a page, without its heading, in the colours and classes of `report.CSS`."""
        raise NotImplementedError


def metric_name(key: str) -> str:
    """A metric, or the loss, in words: accuracy, balanced accuracy, RMSE, R2."""
    return key.upper() if len(key) < 5 and key != "loss" else key.replace("_", " ")


def metric_text(value: float, places: int = 4) -> str:
    """A metric's or a loss's value: so many decimal places below 100, and ever fewer digits that say nothing above."""
    if not abs(value) < 1e15:  # a loss beyond all measure, or none
        return f"{value:.3g}"
    return f"{value:.{places}f}" if abs(value) < 100 else f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage that says 0 or 100 only of what is that: 99.96 % is "over 99.9%"."""
    if 0.9995 <= share < 1:
        return "over 99.9%"
    if 0 < share < 0.0005:
        return "under 0.1%"
    digits = 1 if 0.99 <= share < 1 or 0 < share < 0.01 else 0
    return f"{share:.{digits}%}"
