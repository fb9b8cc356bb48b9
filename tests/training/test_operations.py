"""Operations that are bound to their arrays once and run again and again: they see what is in them at each run."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels import blocks, threads
from gpunet.kernels import control as at
from gpunet.kernels.blocks import BLOCK, bind, blockwise
from gpunet.kernels.dense import Below, dense_backward, dense_forward, product
from gpunet.kernels.gather import PIECE, gather
from gpunet.kernels.losses import loss_step
from gpunet.kernels.optimizers import update
from gpunet.kernels.series import log1p


def test_a_bound_layer_sees_what_changes(backend: gn.Backend, rng: np.random.Generator) -> None:
    shapes = {"x": (7, 5), "weights": (5, 4), "bias": (4,), "delta": (7, 4)}
    with backend.use():
        a = {name: backend.empty(shape, np.float32) for name, shape in shapes.items()}
        out, grad, below = backend.empty((7, 4), np.float32), backend.empty((5, 4), np.float32), None
        delta_below, sums = backend.empty((7, 5), np.float32), backend.empty(5, np.float32)
        below = Below(delta_below, gn.ACTIVATIONS["relu"], a["x"], None, sums)
        forward = dense_forward.bind(a["x"], a["weights"], a["bias"], gn.ACTIVATIONS["relu"], None, out)
        backward = dense_backward.bind(a["delta"], a["x"], a["weights"], grad, below)
        for _ in range(3):
            host = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
            for name, values in host.items():
                a[name][...] = backend.to_device(values)
            forward()
            backward()
            wanted = np.maximum(host["x"] @ host["weights"] + host["bias"], 0)
            np.testing.assert_allclose(backend.to_host(out), wanted, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(backend.to_host(grad), host["x"].T @ host["delta"], rtol=1e-5, atol=1e-6)
            wanted = (host["delta"] @ host["weights"].T) * (host["x"] > 0)
            np.testing.assert_allclose(backend.to_host(delta_below), wanted, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(backend.to_host(sums), wanted.sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("rows", "classes"), [(6, 3), (6, 40), (9000, 3), (7000, 40)])
def test_a_bound_loss_sees_what_changes(rows: int, classes: int, order: Any, rng: np.random.Generator) -> None:
    logits = np.empty((rows, classes), np.float32, order)
    delta, targets, losses = np.empty_like(logits), np.empty(rows, np.int32), np.empty(rows, np.float32)
    run = loss_step.bind(logits, None, targets, gn.SoftmaxCrossEntropy(), delta, None, losses, None)
    for _ in range(2):
        z, labels = rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)
        logits[...], targets[...] = z, labels
        run()
        softmax = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        own = softmax[np.arange(rows), labels]
        softmax[np.arange(rows), labels] -= 1
        np.testing.assert_allclose(delta * rows, softmax, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(losses, -np.log(own), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(logits, z, rtol=1e-6)


def test_a_bound_update_reads_the_row_of_its_step(backend: gn.Backend) -> None:
    with backend.use():
        p, g = backend.zeros(3, np.float32), backend.empty(3, np.float32)
        rates = np.array([1.0, 10.0, 100.0])
        table = backend.to_device(gn.SGD(1.0).coefficients(np.arange(1, 4), rates).astype(np.float32))
        control = backend.to_device(at.fresh())
        run = update.bind(p, g, [], gn.SGD(1.0), table, control, 3)
        for step in range(3):
            g[...] = 1
            control[at.STEP] = step
            run()
            assert int(control[at.NEXT]) == step + 1
    np.testing.assert_array_equal(backend.to_host(p), [-111, -111, -111])


@pytest.mark.parametrize("batch", [1, PIECE // 784, PIECE // 784 + 1, 500])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_batch_of_several_pieces_goes_round_the_ring(batch: int, kind: str, rng: np.random.Generator) -> None:
    examples = 600
    images, labels = (255 * rng.random((examples, 784))).astype(kind), np.arange(examples, dtype=np.int32)
    ring = np.concatenate([rng.permutation(examples) for _ in range(2)]).astype(np.int32)
    control, x, targets = at.fresh(), np.empty((batch, 784), np.float32), np.empty(batch, np.int32)
    room = np.empty((batch, 784), kind) if kind == "uint8" else None
    run = gather.bind(images, labels, ring, control, 1 / 255, x, targets, room)
    for step in range(2 * examples // batch + 2):
        control[at.NEXT] = step
        run()
        rows = np.take(ring, np.arange(step * batch, (step + 1) * batch), mode="wrap")
        np.testing.assert_array_equal(targets, rows)
        np.testing.assert_array_equal(x, images[rows].astype(np.float32) * np.float32(1 / 255))


@pytest.mark.parametrize("size", [10, BLOCK + 10, 9 * BLOCK])
def test_pieces_see_what_changes(size: int) -> None:
    doubled = blockwise(lambda x, out: np.multiply(x, 2, out=out))
    x, out = np.zeros(size, np.float32), np.empty(size, np.float32)
    run = bind(doubled, x, out)
    for value in (1, 2):
        x[...] = value
        run()
        assert (out == 2 * value).all()


def test_pieces_of_any_order_see_what_changes() -> None:
    halved = blockwise(lambda x, out: np.multiply(x, 0.5, out=out))
    for x in (np.zeros((4, 6), order="F"), np.zeros((8, 6))[::2], np.zeros((4, 12))[:, ::-2]):
        for out in (np.empty((4, 6)), np.empty((4, 6), order="F")):
            run = bind(halved, x, out)
            for value in (1, 2):
                x[...] = value
                run()
                assert (out == value / 2).all()


@pytest.mark.parametrize(("most", "taken"), [(None, 3), (2, 2), (1, 1)])
def test_pieces_take_no_more_threads_than_they_may(
    most: int | None, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 3)
    seen, all_there = set(), threading.Barrier(taken)

    def work(start: int) -> None:
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            all_there.wait(600)

    with ThreadPoolExecutor(2) as pool, threads.at_most(most), threads.at_most(None):
        monkeypatch.setattr(threads, "pool", lambda: pool)
        blocks.over_pieces(work, 6, 1, blocks.SHARED)
    assert len(seen) == taken


def test_what_was_asked_for_bounds_evaluations_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.setattr(threads, "pool", object)
    data = gn.Dataset.from_arrays(np.eye(8, dtype=np.float32), np.arange(8) % 2, validation=2)
    found = []

    def spy(*arguments: Any, **options: Any) -> gn.Evaluation:
        found.append(threads.helpers(9)[1])
        return evaluate(*arguments, **options)

    evaluate = gn.evaluate
    monkeypatch.setattr("gpunet.training.trainer.evaluate", spy)
    gn.train(gn.MLP([8, 2]), data, iterations=2, batch_size=3, threads=2)
    assert found == [1] * 3  # after the last step, and for the result: two splits


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (5, 1, 3), (4, 6, 1), (7, 5, 3)])
def test_a_product_into_either_order(shape: tuple[int, int, int], order: Any, rng: np.random.Generator) -> None:
    m, k, n = shape
    for a, b in (
        (rng.random((m, k)), rng.random((k, n))),
        (rng.random((k, m)).T, rng.random((n, k)).T),
    ):
        out = np.full((m, n), np.nan, order=order)
        product(a, b, out)()
        np.testing.assert_allclose(out, np.einsum("ij,jk->ik", a, b), rtol=1e-13)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 4e-7), (np.float64, 1e-15)])
def test_log1p_keeps_the_digits_of_small_results(dtype: Any, rtol: float) -> None:
    e = np.concatenate([[0.0], np.logspace(-37, 0, 2000)]).astype(dtype)
    wanted = [math.log1p(value) for value in e.tolist()]
    out = np.empty_like(e)
    log1p(e, out)
    np.testing.assert_allclose(out, wanted, rtol=rtol)


def test_a_step_is_a_list_of_operations(mnist_5k: gn.Dataset) -> None:
    trainer = gn.Trainer(gn.MLP([784, 8, 6, 10]), mnist_5k, l2=1e-4, clip_norm=1.0, max_norm=3.0)
    # The batch, three layers forward, the loss, three backward, the penalty, the clipping, the update, three norms.
    assert len(list(trainer.step.operations(want_losses=False))) == 1 + 3 + 1 + 3 + 1 + 1 + 1 + 3
