"""How data of one's own is to be read."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gpunet.checks import one_of
from gpunet.data.preparation import SCALES, TASKS
from gpunet.errors import UsageError

#: The share of a table without a test split that is kept for testing.
TEST = 0.2


@dataclass(frozen=True)
class DataOptions:
    """How data of one's own is to be read.

    Attributes:
        target: the target columns, by name or by position from 0 (negative from the end); None to find it.
        features: the columns that are inputs, the same way; None for all others.
        drop: columns to leave out.
        task: "auto", "classification", "multi-label" or "regression".
        scale: "auto", "standard", "robust", "minmax", "none" or "pixels".
        test: the share of the rows that is kept for testing where there is no test split; None for none.
        group: a column; rows of one value of it go to the same split, and it is no feature.
        weight: a column with a sample weight for each row, which is no feature.
        image_size: (rows, columns) of pictures, or of the pixels in a row.
        missing: "impute", or "flag" for one more feature where values are missing.
        bins: of the piecewise-linear encoding of numbers; 0 for none.
        clip: whether ("on", "off") predictions of a regression are clipped to the range of the training targets.
    """

    target: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    task: str = "auto"
    scale: str = "auto"
    test: float | None = TEST
    group: str | None = None
    weight: str | None = None
    image_size: tuple[int, int] | None = None
    missing: str = "impute"
    bins: int = 0
    clip: bool | str = False

    def __post_init__(self) -> None:
        if self.task != "auto":
            one_of("task", self.task, TASKS)
        one_of("scale", self.scale, SCALES)
        if self.missing not in ("impute", "flag"):
            raise UsageError(f'missing must be "impute" or "flag", not {self.missing!r}.')
        if self.test is not None and not 0 < self.test < 1:
            raise UsageError(f"test is a fraction above 0 and below 1, or None, not {self.test!r}.")
        if self.clip in ("on", "off"):
            object.__setattr__(self, "clip", self.clip == "on")
        for name in ("target", "features", "drop"):
            value = getattr(self, name)
            if isinstance(value, (str, int)):
                object.__setattr__(self, name, (str(value),))
            elif value is not None:
                object.__setattr__(self, name, tuple(map(str, value)))

    @property
    def given(self) -> list[str]:
        """The names of those that are not as they are by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]
