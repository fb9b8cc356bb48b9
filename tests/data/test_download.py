"""Downloads against a server on this machine that misbehaves in every way a server can."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import socket
import threading

import numpy as np
import pytest

from gpunet.data import catalog
from gpunet.data.download import cache_dir, download, mirrors_first, sha256_of
from gpunet.data.idx import write_idx
from gpunet.data.load import load_dataset
from gpunet.errors import DataError

pytestmark = pytest.mark.host

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`, in the way that the first folder of the address names."""

    daemon_threads = True

    def __init__(self):
        self.files = {"file": CONTENT}
        self.requests: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{way}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        way, _, name = self.path.strip("/").rpartition("/")
        asked = self.headers.get("Range")
        self.server.requests.append((way, asked))
        content = self.server.files.get(name)
        if way == "missing" or content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and way != "norange" else 0
        if way == "elsewhere" and asked:
            start += 1
        if start >= len(content) and asked:
            self.send_error(416)
            return
        body = content[start:]
        if way == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if way == "endless":
            body = content * 10
        self.send_response(206 if asked and way != "norange" else 200)
        if asked and way != "norange":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if way == "huge":
            self.send_header("Content-Length", str(1 << 40))
        elif way != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "cut":
            body = body[:100_000]
        if way == "stuck":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            self.server.release.wait(60)  # type: ignore[attr-defined]
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "GPUNET_MIRROR", "GPUNET_DATA"):
        monkeypatch.delenv(variable, raising=False)
    server = Server()
    server.release = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


def get(server, tmp_path, *ways, **options):
    urls = [f"{server.url(way)}/file" for way in ways]
    return download(urls, tmp_path / "x" / "file", sha256=SHA256, size=len(CONTENT), **options)


def names(tmp_path):
    return sorted(p.name for p in (tmp_path / "x").iterdir())


def test_download_and_progress(server, tmp_path):
    calls = []
    path = get(server, tmp_path, "good", progress=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]
    assert calls[0] == ("file", 0, len(CONTENT))
    assert calls[-1] == ("file", len(CONTENT), len(CONTENT))
    assert [call[1] for call in calls] == sorted(call[1] for call in calls)


def test_what_is_there_is_kept_and_what_is_wrong_is_replaced(server, tmp_path):
    path = get(server, tmp_path, "good")
    get(server, tmp_path, "good")
    assert len(server.requests) == 1
    path.write_bytes(b"damaged")
    assert get(server, tmp_path, "good").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["missing", "wrong", "huge", "endless"])
def test_next_mirror(server, tmp_path, bad):
    assert get(server, tmp_path, bad, "good").read_bytes() == CONTENT
    assert [way for way, _ in server.requests] == [bad, "good"]
    assert server.requests[1][1] is None  # nothing of the bad file is gone on with
    assert names(tmp_path) == ["file"]


def test_resume(server, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file.part").write_bytes(CONTENT[:123_456])
    calls = []
    assert get(server, tmp_path, "good", progress=lambda *call: calls.append(call)).read_bytes() == CONTENT
    assert server.requests == [("good", "bytes=123456-")]
    assert calls[0] == ("file", 123_456, len(CONTENT))


def test_cut_connection_is_gone_on_with(server, tmp_path):
    assert get(server, tmp_path, "cut", "good").read_bytes() == CONTENT
    assert server.requests == [("cut", None), ("good", "bytes=100000-")]


def test_cut_again_and_again(server, tmp_path):
    assert get(server, tmp_path, "cut").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


def test_cut_for_good_leaves_a_part_to_go_on_with(server, tmp_path, monkeypatch):
    monkeypatch.setattr("gpunet.data.download.ROUNDS", 1)
    with pytest.raises(DataError, match="cut after 100,000 of 300,000 bytes"):
        get(server, tmp_path, "cut")
    assert names(tmp_path) == ["file.part"]
    assert get(server, tmp_path, "good").read_bytes() == CONTENT


def test_silent_server(server, tmp_path):
    assert get(server, tmp_path, "stuck", "good", timeout=5.0).read_bytes() == CONTENT
    assert server.requests == [("stuck", None), ("good", "bytes=1000-")]


@pytest.mark.parametrize("way", ["norange", "elsewhere"])
def test_servers_that_do_not_know_ranges(server, tmp_path, way):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file.part").write_bytes(CONTENT[:5000])
    assert get(server, tmp_path, way, "good").read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"of another file" * 1000, CONTENT + b"more"])
def test_a_part_that_is_no_beginning(server, tmp_path, part):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file.part").write_bytes(part)
    assert get(server, tmp_path, "good").read_bytes() == CONTENT


def test_a_whole_part_needs_no_server(server, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file.part").write_bytes(CONTENT)
    assert get(server, tmp_path, "good").read_bytes() == CONTENT
    assert server.requests == []


def test_another_process_has_the_part(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "x").mkdir()
    with open(tmp_path / "x" / "file.part", "ab") as held:
        held.write(CONTENT[:10])
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        assert get(server, tmp_path, "wrong", "good").read_bytes() == CONTENT
    assert names(tmp_path) == ["file", "file.part"]
    assert (tmp_path / "x" / "file.part").read_bytes() == CONTENT[:10]


def test_many_at_once(server, tmp_path):
    errors = []

    def one():
        try:
            get(server, tmp_path, "good")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (tmp_path / "x" / "file").read_bytes() == CONTENT


def test_every_mirror_is_named_when_all_fail(server, tmp_path):
    free = f"http://127.0.0.1:{server.server_address[1]}"
    with socket.socket() as silent:  # it holds a port that nobody listens at
        silent.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        urls = [f"{free}/missing/file", f"{free}/wrong/file", closed, "file:///etc/passwd", "http://["]
        with pytest.raises(DataError) as caught:
            download(urls, tmp_path / "file", sha256=SHA256, size=len(CONTENT))
    text = str(caught.value)
    for word in (*urls, "HTTP 404", "wrong sha256", "refused", "no http", "--data-dir"):
        assert word in text, text
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "x").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        get(server, tmp_path, "good")


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_dir() == tmp_path / "a"
    monkeypatch.delenv("GPUNET_CACHE")
    assert cache_dir() == tmp_path / "b" / "gpunet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    if os.name == "posix":
        assert cache_dir() == tmp_path / ".cache" / "gpunet"


def test_own_mirror_comes_first(monkeypatch):
    monkeypatch.delenv("GPUNET_MIRROR", raising=False)
    assert mirrors_first("mnist", ["http://a/"]) == ["http://a/"]
    monkeypatch.setenv("GPUNET_MIRROR", "http://school/data")
    assert mirrors_first("mnist", ["http://a/"]) == ["http://school/data/mnist/", "http://a/"]


def test_sha256_of(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    assert sha256_of(path) == sha256_of(path, unpacked=True) == SHA256
    with pytest.raises(DataError):
        sha256_of(tmp_path / "none")


@pytest.fixture
def small_set(server, tmp_path, monkeypatch):
    """A data set of twelve images that only the server here has."""
    facts = []
    for name in (file.name for file in catalog.DATASETS["mnist"].files):
        array = np.zeros((12, 28, 28), np.uint8) if "images" in name else np.arange(12, dtype=np.uint8) % 10
        content = write_idx(tmp_path / "made.gz", array).read_bytes()
        server.files[name] = content
        facts.append(catalog.SourceFile(name, len(content), hashlib.sha256(content).hexdigest()))
    entry = catalog.DatasetEntry(
        name="small", summary="", authors="", licence="", origin="", files=tuple(facts), train=10, validation=2,
        mirrors=(server.url("missing") + "/", server.url("good") + "/"), test=12, class_names=tuple("0123456789"),
        checksum=None,
    )  # fmt: skip
    monkeypatch.setitem(catalog.DATASETS, "small", entry)
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return entry


def test_load_downloads_once(server, small_set, tmp_path):
    fetched = []
    data = load_dataset("small", progress=lambda name, done, total: fetched.append(name))
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 2, 12)
    assert list(dict.fromkeys(fetched)) == [file.name for file in small_set.files]
    count = len(server.requests)
    assert load_dataset("small").checksum == data.checksum
    assert len(server.requests) == count
    assert {state.state for state in small_set.verify()} == {"ok"}
    # What is damaged in the cache is told of, and fetched again on demand.
    (tmp_path / "cache" / "small" / small_set.files[1].name).write_bytes(b"x")
    assert [state.state for state in small_set.verify()] == ["ok", "wrong", "ok", "ok"]
    with pytest.raises(DataError, match="truncated"):
        load_dataset("small")
    small_set.fetch()
    assert load_dataset("small").checksum == data.checksum


def test_fetch_to_a_folder(server, small_set, tmp_path, monkeypatch):
    monkeypatch.setenv("GPUNET_MIRROR", server.url("own"))
    folder = small_set.fetch(tmp_path / "to")
    assert all((folder / file.name).is_file() for file in small_set.files)
    assert {way for way, _ in server.requests} == {"own/small"}
    assert load_dataset("small", data_dir=folder).name == "small"


def test_bundled_set_is_copied(tmp_path):
    entry = catalog.DATASETS["mnist-5k"]
    for _ in range(2):
        folder = entry.fetch(tmp_path / "to")
        assert len(load_dataset(folder).train) == 4000
    assert sorted(p.name for p in folder.iterdir()) == sorted(file.name for file in entry.files)
