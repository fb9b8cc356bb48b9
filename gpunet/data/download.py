"""Files from the internet: fetched from the first mirror that serves them whole, resumed, proven by sha256.

A file appears under its name only when it is complete and its checksum is right; what was cut off waits beside it as
NAME.part and is gone on with next time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from gpunet.errors import DataError
from gpunet.files import expand

#: Called as progress(file name, bytes done, bytes total or None) while a file is fetched, or all of it looked at.
Progress = Callable[[str, int, "int | None"], None]

MIRROR_VARIABLE = "GPUNET_MIRROR"
TIMEOUT = 30.0  # seconds without a byte, after which the next mirror is tried
_CHUNK = 1 << 16
ROUNDS = 4  # how often all mirrors are tried while each round brings at least some bytes


class _Failed(Exception):
    """One mirror failed; the text says how, in a few words."""


def cache_dir() -> Path:
    """$GPUNET_CACHE, else $XDG_CACHE_HOME/gpunet, else ~/.cache/gpunet."""
    if given := os.environ.get("GPUNET_CACHE"):
        return expand(given)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return expand(base) / "gpunet"
    try:
        return Path.home() / ".cache" / "gpunet"
    except RuntimeError as error:  # no home folder at all
        raise DataError("There is no home folder for the cache; set GPUNET_CACHE to a folder.") from error


def mirrors_first(name: str, mirrors: Sequence[str]) -> list[str]:
    """Where a data set's files are served: $GPUNET_MIRROR/NAME/, then the published mirrors."""
    own = os.environ.get(MIRROR_VARIABLE)
    return [*([f"{own.rstrip('/')}/{name}/"] if own else []), *mirrors]


def sha256_of(path: str | os.PathLike[str], *, unpacked: bool = False) -> str:
    """sha256 of a file, hexadecimal; with unpacked=True of what a gzip file holds ("" if that is damaged)."""
    import hashlib

    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            packed = unpacked and file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                while block := file.read(1 << 20):
                    digest.update(block)
                return digest.hexdigest()
            import gzip
            import zlib

            try:
                with gzip.GzipFile(fileobj=file, mode="rb") as content:
                    while block := content.read(1 << 20):
                        digest.update(block)
            except (EOFError, gzip.BadGzipFile, zlib.error):
                return ""
            return digest.hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def copy_proven(source: Path, target: Path, sha256: str) -> None:
    """Copy a file whose checksum is known, whole or not at all."""
    if target.is_file() and sha256_of(target) == sha256:
        return
    if sha256_of(source) != sha256:
        raise DataError(f"{source} is damaged (its sha256 is another); install gpunet anew.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def download(
    urls: Sequence[str],
    target: str | os.PathLike[str],
    *,
    sha256: str,
    size: int,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch one file to `target` from the first of the addresses that serves it right; kept if it is there.

    Args:
        urls: the addresses, in the order in which they are tried.
        target: where to.
        sha256: the checksum that proves the file.
        size: its length in bytes; more than twice that (and 1 MiB) is refused, so that a wrong server cannot fill
            the disk.
        progress: called as progress(file name, bytes done, bytes total or None).
        timeout: seconds without a byte after which an address is given up.

    Returns:
        The target.

    Raises:
        DataError: every address failed, each with the reason, or the file cannot be written.
    """
    target = Path(target)
    if target.is_file() and sha256_of(target) == sha256:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _Part(target) as part:
            if part.length() == size and sha256_of(part.path) == sha256:  # stopped just before its end
                part.finish()
                return target
            failures: dict[str, str] = {}
            for _ in range(ROUNDS):
                before = part.length()
                for url in urls:
                    try:
                        _fetch(url, part, 2 * size + (1 << 20), target.name, progress, timeout)
                        if sha256_of(part.path) != sha256:
                            part.clear()
                            raise _Failed("sent a file with a wrong sha256")
                    except _Failed as error:
                        failures[url] = str(error)
                        continue
                    part.finish()
                    return target
                stale = before and not part.length()  # what was gone on with was no beginning: start anew
                if part.length() <= before and not stale:
                    break
    except OSError as error:
        raise _cannot_write(target, error) from error
    tried = ", ".join(f"{url} ({why})" for url, why in failures.items())
    raise DataError(
        f"{target.name} could not be downloaded: tried {tried}; check the connection and try again, or get the files "
        "on another machine and name their folder with --data-dir or GPUNET_DATA."
    )


class _Part:
    """The unfinished file beside its target, held by one process at a time."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self.shared = True
        self.finished = False

    def __enter__(self) -> _Part:
        self.file: IO[bytes] = open(self.path, "ab")
        if not _lock(self.file, self.path):
            # Another process is fetching the same file: fetch it apart and let the last rename win.
            self.file.close()
            self.shared = False
            self.path = self.path.with_name(f"{self.path.name}.{os.getpid()}-{threading.get_ident()}")
            self.file = open(self.path, "ab")
        return self

    def __exit__(self, *_: object) -> None:
        useless = not self.finished and (self.length() == 0 or not self.shared)
        if os.name == "nt":
            self.file.close()  # Windows does not remove what is open
        if useless:  # removed under the lock, so that nobody else has begun to write to it
            self.path.unlink(missing_ok=True)
        self.file.close()

    def length(self) -> int:
        return 0 if self.file.closed else os.fstat(self.file.fileno()).st_size

    def write(self, block: bytes) -> None:
        try:
            self.file.write(block)
            self.file.flush()
        except OSError as error:  # told apart from what the network raises
            raise _cannot_write(self.path, error) from error

    def clear(self) -> None:
        self.file.truncate(0)

    def finish(self) -> None:
        os.fsync(self.file.fileno())
        if os.name == "nt":
            self.file.close()  # Windows does not rename what is open
        os.replace(self.path, self.target)
        self.finished = True


def _lock(file: IO[bytes], path: Path) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: two at once are told by the checksum
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The one that held the lock may have finished and renamed the file in between.
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return False
    except OSError:  # a file system without locks
        return True


def _fetch(url: str, part: _Part, limit: int, name: str, progress: Any, timeout: float) -> None:
    """Bring the part file to its full length from one address; raises _Failed."""
    import http.client
    import urllib.error
    import urllib.request

    if not url.lower().startswith(("http://", "https://")):
        raise _Failed("is no http or https address")
    start = part.length()
    headers = {"User-Agent": "gpunet", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            if start and not (
                answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            ):
                if answer.status == 206:
                    part.clear()
                    raise _Failed("sent another range than asked for")
                start = 0
                part.clear()
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            if total is not None and total > limit:
                raise _Failed(f"has a file of {total:,} bytes, which is too large")
            done = _copy(answer, part, start, total, limit, name, progress)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is no beginning of this file
            part.clear()
        raise _Failed(f"HTTP {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # URLError, timeouts, resets, TLS
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise _Failed(text.strip().rstrip(".")) from error
    if total is not None and done < total:
        raise _Failed(f"connection cut after {done:,} of {total:,} bytes")


def _copy(answer: Any, part: _Part, done: int, total: int | None, limit: int, name: str, progress: Any) -> int:
    if progress:
        progress(name, done, total)
    while block := answer.read1(_CHUNK):  # what has arrived, so that none of it is lost when the rest does not
        done += len(block)
        if done > limit:
            part.clear()
            raise _Failed("sent more than the file can have")
        part.write(block)
        if progress:
            progress(name, done, total)
    return done


def _cannot_write(target: Path, error: OSError) -> DataError:
    return DataError(
        f"{target} cannot be written: {error.strerror or error}; choose another folder (GPUNET_CACHE sets the cache)."
    )
