"""Large products in pieces: the same bits whoever computes them, and nobody waits for a helper that does not come."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import threadpoolctl

from gpunet.kernels import products, threads

pytestmark = pytest.mark.host


class Pool:
    """Helpers that begin when they are told to."""

    def __init__(self, at_once: bool) -> None:
        self.at_once = at_once
        self.work = []

    def submit(self, function) -> None:
        if self.at_once:
            threading.Thread(target=function).start()
        else:
            self.work.append(function)


@pytest.fixture(autouse=True)
def products_of_this_size_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SHARED", 20e6)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch):
    """Make products shared with `count` helpers of a pool."""

    def use(pool: Pool, count: int = 3) -> Pool:
        monkeypatch.setattr(products, "helpers", lambda wanted: (pool, min(count, wanted)))
        monkeypatch.setattr(products, "patience", products.Patience())
        return pool

    return use


def matrices(rng: np.random.Generator, m: int, k: int, n: int, order: str = "C", dtype: str = "float32"):
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    return a, b, np.full((m, n), np.nan, dtype, order=order)


@pytest.mark.parametrize(("m", "k", "n"), [(100, 784, 300), (784, 100, 300), (1000, 784, 50), (256, 700, 700)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_shared_product_has_the_bits_of_one_computed_alone(helped, rng, m, k, n, order):
    a, b, out = matrices(rng, m, k, n, order)
    run = products.product(a, b, out)
    with threads.one_blas_thread(), threads.at_most(1):
        run()
        alone = out.copy()
        assert np.allclose(alone, a.astype(np.float64) @ b, rtol=1e-4, atol=1e-3)
        helped(Pool(at_once=True))
        for _ in range(20):
            out[...] = np.nan
            run()
            assert np.array_equal(out, alone)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (100, 784, 50), (3000, 40, 128), (128, 3000, 129), (5000, 5000, 1)]
)
def test_pieces_make_up_the_product_and_depend_on_the_shapes_alone(rng, m, k, n):
    a, b, out = matrices(rng, m, k, n, dtype="float64")
    pieces = products.in_pieces(a, b, out)
    assert (len(pieces) == 1) == (2.0 * m * k * n < products.SHARED or max(m, n) < 2 * products.NARROW)
    for left, right, part in pieces:
        part[...] = left @ right
    np.testing.assert_allclose(out, a @ b, atol=1e-9)


def test_a_helper_that_does_not_come_keeps_nobody_waiting(helped, rng):
    a, b, out = matrices(rng, 784, 100, 300)
    run = products.product(a, b, out)
    pool = helped(Pool(at_once=False))
    run()
    np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)
    out[...] = 7  # what the next operation of a step writes there
    for late in pool.work:
        late()
    assert (out == 7).all()


def test_a_piece_that_comes_too_late_is_dropped_and_help_asked_for_less_often(helped, rng, monkeypatch):
    a, b, out = matrices(rng, 784, 100, 300)
    run = products.product(a, b, out)
    pool = helped(Pool(at_once=True), count=1)
    go_on, began, ended = threading.Event(), threading.Event(), threading.Event()
    plain = np.matmul

    def slow(left, right, out):
        plain(left, right, out=out)
        if threading.current_thread() is not threading.main_thread():
            began.set()
            go_on.wait(60)
            ended.set()
        else:
            began.wait(60)  # the helper has a piece before the caller has them all

    monkeypatch.setattr(products.np, "matmul", slow)
    run()
    monkeypatch.undo()
    np.testing.assert_allclose(out, a @ b, rtol=1e-4, atol=1e-4)
    out[...] = 7
    go_on.set()
    assert ended.wait(60)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and "gpunet" not in thread.name:
            thread.join(1)
    assert (out == 7).all()
    assert pool.at_once


def test_patience_grows_with_every_late_helper_and_shrinks_again():
    patience = products.Patience()
    assert patience.asks()
    for times in range(20):
        patience.learn(late=True)
        without = [patience.asks() for _ in range(2 * products.LONGEST)].index(True)
        assert without == min(products.SHORTEST * 2**times, products.LONGEST)
    patience.learn(late=False)
    assert patience.asks()
    patience.learn(late=True)
    assert [patience.asks() for _ in range(4)].index(True) == products.SHORTEST


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_counts_as_its_cores(tmp_path, files, cores):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert threads.cores_granted(tmp_path) == cores


def test_the_blas_works_with_one_thread_while_anybody_wants_it_so():
    blas = threadpoolctl.ThreadpoolController().select(user_api="blas")
    if not blas.info():
        pytest.skip("the BLAS of this NumPy is none whose threads can be set")

    def numbers() -> set[int]:
        return {library["num_threads"] for library in blas.info()}

    with blas.limit(limits=2):  # the tests have one
        before = numbers()
        with threads.one_blas_thread():
            with threads.one_blas_thread():
                assert numbers() == {1}
            assert numbers() == {1}
            assert {library["num_threads"] for library in threads.describe()} == before
        assert numbers() == before


def test_an_inner_bound_never_raises_an_outer_one(monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setattr(threads, "pool", object)
    assert threads.helpers(20)[1] == 7
    assert threads.helpers(2)[1] == 2
    with threads.at_most(4), threads.at_most(6), threads.at_most(None):
        assert threads.helpers(20)[1] == 3
    with threads.at_most(1):
        assert threads.helpers(20) == (None, 0)
