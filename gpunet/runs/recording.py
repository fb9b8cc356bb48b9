"""What is kept of a run beside its settings: when checkpoints are written, how many are kept, and which logs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from gpunet.checks import positive, whole
from gpunet.errors import CheckpointError, UsageError
from gpunet.files import expand
from gpunet.runs.logs import LOGS
from gpunet.training.callbacks import Callback, Timer

#: Seconds between two checkpoints of a run that is kept, where no interval was asked for.
CHECKPOINT_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Recording:
    """What is kept of a run; config.json notes it, and a run that is resumed has the same.

    Attributes:
        checkpoint_every: steps from one checkpoint to the next, or None.
        checkpoint_seconds: seconds from one to the next, or None; `CHECKPOINT_SECONDS` where neither is given.
        keep: how many checkpoints are kept.
        log: KIND or KIND:PATH for each log; KIND is a name in `LOGS`.

    Raises:
        UsageError: one of them cannot be used.
    """

    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = None
    keep: int = 1
    log: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.checkpoint_every is not None:
            whole("checkpoint_every", self.checkpoint_every)
        if self.checkpoint_seconds is not None:
            positive("checkpoint_seconds", self.checkpoint_seconds)
        whole("keep", self.keep)
        for log in self.log:
            if log.partition(":")[0] not in LOGS:
                raise UsageError(LOGS.unknown(log.partition(":")[0]))

    def to_dict(self) -> dict[str, Any]:
        """What config.json notes, as JSON can hold it; the paths are absolute."""
        split = [log.partition(":") for log in self.log]
        logs = [f"{kind}:{os.path.abspath(place)}" if colon else kind for kind, colon, place in split]
        return {**dataclasses.asdict(self), "log": logs}

    @classmethod
    def from_dict(cls, told: Any, source: Path) -> Recording:
        """What `to_dict` returned.

        Raises:
            CheckpointError: it is something else; the sentence begins with `source`.
        """
        try:
            every, seconds = told["checkpoint_every"], told["checkpoint_seconds"]
            return cls(
                checkpoint_every=None if every is None else int(every),
                checkpoint_seconds=None if seconds is None else float(seconds),
                keep=max(int(told["keep"]), 1),
                log=tuple(str(log) for log in told["log"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CheckpointError(f"{source}: recording is not what gpunet writes; the file is damaged.") from None

    def timer(self) -> Timer:
        """When checkpoints are due."""
        asked = self.checkpoint_every is not None or self.checkpoint_seconds is not None
        return Timer(self.checkpoint_every, self.checkpoint_seconds if asked else CHECKPOINT_SECONDS)

    def logs(self, folder: Path | None) -> list[Callback]:
        """The logs, those without a path of their own in the run's folder.

        Raises:
            UsageError: there is no folder, and a log has no path.
            MissingExtra: a log needs a package that is not installed.
        """
        logs: list[Callback] = []
        for each in self.log:
            kind, _, place = each.partition(":")
            name = LOGS[kind].file
            if place:
                logs.append(LOGS[kind](expand(place)))
            elif folder is None:
                raise UsageError(f"the log {kind} needs a place, as in {kind}:PATH, or a run that is kept.")
            elif name is not None:
                logs.append(LOGS[kind](folder / name))
        return logs
