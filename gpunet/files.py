"""Files that survive a crash: written whole or not at all, and a lock that dies with its process."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, Any

from gpunet.errors import CheckpointError, UnwritableFile, UsageError


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that whatever happens there is either the old file or the whole new one.

    The content goes to a temporary file in the same folder, is synced to the disk and renamed; then the
    folder is synced, so that the new name survives too. A symbolic link stays, and the file that it points to
    is written.

    Raises:
        UnwritableFile: the file cannot be written, or there is a folder or a device in its place; what was there
            is still there.
    """
    try:
        mode = _mode(Path(path))
        target = Path(os.path.realpath(path))
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                sync(file)
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(target.parent)
    except OSError as error:  # it names the temporary file
        raise UnwritableFile(error.errno, error.strerror or str(error), os.fspath(path)) from None


def expand(path: str | os.PathLike[str]) -> Path:
    """A path in which ~ and ~NAME at the start are home folders.

    Raises:
        UsageError: that home folder is not known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: the home folder is not known; write the whole path.") from None


def check_place(path: str, in_place: bool = False) -> None:
    """Refuse a place where a file cannot be written, before the work for it and not after.

    Args:
        path: the file.
        in_place: whether a file that is there (a pipe, say) is written to, in place of a new one that is put there.

    Raises:
        UsageError: it is a folder, there is no folder for it, or none that can be written to.
    """
    if os.path.isdir(path):
        raise UsageError(f"{path} is a folder; name a file.")
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no folder {folder}; make it first.")
    within = in_place and os.path.exists(path)
    if not os.access(path if within else os.path.dirname(os.path.realpath(path)), os.W_OK):
        raise UsageError(f"{path}: no file can be written there; choose another place.")


def _mode(path: Path) -> int:
    """The permissions that the file has, or that an ordinary new one would get (mkstemp's are for secrets).

    Raises:
        OSError: there is something else than a file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "there is a folder of this name")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return stat.S_IMODE(mode) & 0o777


def sync(file: IO[Any]) -> None:
    """Have everything that was written to an open file on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Have a folder's names on the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it; the rename itself has been done
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed `write_atomic` left in a folder."""
    for leftover in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


class Lock:
    """A lock on a folder that one process at a time can have; it is gone when the process is, however it ends.

    Raises:
        CheckpointError: another process has it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = open(folder / ".lock", "a+b")  # noqa: SIM115 - open as long as the lock is held
        try:
            _lock(self._file.fileno())
        except BlockingIOError:
            self._file.close()
            raise CheckpointError(f"{folder}: another process is writing this run; wait for it, or end it.") from None
        except OSError:
            pass  # a file system that knows no locks

    def release(self) -> None:
        """Let others have it."""
        self._file.close()


def _lock(descriptor: int) -> None:
    if os.name == "nt":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            raise BlockingIOError from None
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
