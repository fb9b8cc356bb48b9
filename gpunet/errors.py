"""The errors gpunet raises on purpose: each carries one sentence and the exit code of the command line."""

from __future__ import annotations


class GpunetError(Exception):
    """Base of every error that gpunet raises on purpose; its text is one sentence for the user.

    Attributes:
        exit_code: that of the command line.
        everywhere: whether every rank of a distributed training raises it alike, so that one of them need say it.
    """

    exit_code = 1
    everywhere = False


class UsageError(GpunetError, ValueError):
    """An argument, an option or a name that cannot be used; the caller has to change it."""

    exit_code = 2


class RankFailed(GpunetError):
    """What one rank of a distributed training could not do; every rank raises it."""

    everywhere = True

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message, exit_code)
        self.exit_code = exit_code

    def __str__(self) -> str:
        return str(self.args[0])


class DataError(GpunetError):
    """A file or an array that is not what it should be."""


class DeviceError(GpunetError):
    """A device that cannot be had, or an array that lives on another one."""


class OutOfMemory(DeviceError):
    """A CUDA device has less memory than was asked for; `free` is how many bytes it has left."""

    def __init__(self, message: str, free: int = 0) -> None:
        super().__init__(message)
        self.free = free


class CheckpointError(GpunetError):
    """A model file, checkpoint or run folder that is damaged or does not fit."""


class MissingExtra(GpunetError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)

    def __str__(self) -> str:
        package, extra, purpose = self.args
        return f'{purpose} needs the package {package}; install it with: pip install "gpunet[{extra}]".'


class UnwritableFile(GpunetError, OSError):
    """A file that cannot be written; `filename` is the file, `errno` and `strerror` say why."""

    def __str__(self) -> str:
        return f"{self.filename} cannot be written ({self.strerror}); choose another place."


class TrainingDiverged(GpunetError):
    """The loss is no longer a finite number."""

    def __init__(self, message: str, iteration: int = 0) -> None:
        super().__init__(message)
        self.iteration = iteration
