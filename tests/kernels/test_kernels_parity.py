"""Every operation on CUDA against its NumPy form: over every entry of the tables, and over random shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import CLOSE, close, counters, layer_both_ways, on, shapes

import gpunet as gn
from gpunet.kernels import control as at
from gpunet.kernels.activation import activation_backward, activation_forward
from gpunet.kernels.build import raw
from gpunet.kernels.dense import dense_backward, dense_forward
from gpunet.kernels.dropout import Drop, dropout
from gpunet.kernels.losses import loss_step
from gpunet.kernels.optimizers import update
from gpunet.kernels.penalties import PARTIAL_SUMS, add_penalty, clip_by_norm, clip_columns
from gpunet.kernels.random import Stream, purpose
from gpunet.kernels.tensor_cores import to_bfloat16

DTYPES = ["float32", "float64"]


# --- activations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", *DTYPES])
@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_activation_and_derivative(cuda: gn.Backend, rng: np.random.Generator, name: str, dtype: str) -> None:
    entry = gn.ACTIVATIONS[name]
    x = (3 * rng.standard_normal((37, 5))).astype(dtype)
    y = activation_forward(x, entry, np.empty_like(x))
    saved = y if entry.saves == "output" else x
    slope = activation_backward(np.ones_like(x), saved, entry, np.empty_like(x))
    with cuda.use():
        device_x, device_saved, ones = on(cuda, x, saved, np.ones_like(x))
        close(cuda, activation_forward(device_x, entry, cuda.xp.empty_like(device_x)), y)
        close(cuda, activation_backward(ones, device_saved, entry, ones), slope)


@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_activation_of_large_numbers(cuda: gn.Backend, name: str) -> None:
    entry = gn.ACTIVATIONS[name]
    x = np.array([-1e4, -300.0, -90.0, 90.0, 300.0, 1e4], np.float32)
    with np.errstate(all="ignore"):
        y = activation_forward(x, entry, np.empty_like(x))
    with cuda.use():
        (device_x,) = on(cuda, x)
        close(cuda, activation_forward(device_x, entry, device_x), y)


@shapes
@given(rows=st.integers(1, 60), columns=st.integers(1, 60), order=st.sampled_from("CF"), step=st.integers(1, 3))
def test_activation_of_any_strides(cuda: gn.Backend, rows: int, columns: int, order: str, step: int) -> None:
    entry = gn.ACTIVATIONS["tanh"]
    x = np.asarray(np.random.default_rng(rows).standard_normal((rows, columns)), np.float32, order)
    y = activation_forward(x[::step], entry, np.empty_like(x[::step]))
    with cuda.use():
        device_x = cuda.xp.asarray(x)[::step]
        close(cuda, activation_forward(device_x, entry, cuda.xp.empty_like(device_x)), y)


@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_check_activation(cuda: gn.Backend, name: str) -> None:
    assert gn.check_activation(name, cuda) <= 1e-6


# --- the dense layer -------------------------------------------------------------------------------------


sizes = {"batch": st.integers(1, 140), "inputs": st.integers(1, 90), "outputs": st.integers(1, 90)}


@shapes
@given(**sizes)
def test_library_products(cuda: gn.Backend, batch: int, inputs: int, outputs: int) -> None:
    layer_both_ways(cuda, batch, inputs, outputs, "float32", masked=batch % 2 == 0)


@pytest.mark.parametrize("name", sorted(gn.ACTIVATIONS))
def test_every_activation_in_a_layer(cuda: gn.Backend, name: str) -> None:
    layer_both_ways(cuda, 19, 21, 18, "float32", name)


def test_products_without_bias(cuda: gn.Backend) -> None:
    layer_both_ways(cuda, 20, 8, 1000, "float32", bias=False)


def test_an_activation_of_ones_own_in_a_layer(cuda: gn.Backend) -> None:
    mine = gn.activation(
        "softsign-of-mine", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2,
        "x / (ACC(1) + fabs(x))", "ACC(1) / ((ACC(1) + fabs(x)) * (ACC(1) + fabs(x)))",
    )  # fmt: skip
    assert gn.check_activation(mine, cuda) <= 1e-6
    data = gn.Dataset.from_arrays(np.random.default_rng(0).random((60, 6), np.float32), np.arange(60) % 3)
    losses = []
    for backend in (gn.get_backend("cpu"), cuda):
        model = gn.MLP([6, 5, 3], mine, backend=backend)
        losses.append(gn.train(model, data, iterations=4, batch_size=20, log_every=1).history[-1].loss)
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_products_repeat_bit_for_bit(cuda: gn.Backend, rng: np.random.Generator) -> None:
    x = rng.standard_normal((100, 57)).astype(np.float32)
    weights = rng.standard_normal((57, 31)).astype(np.float32)
    delta = rng.standard_normal((100, 31)).astype(np.float32)
    results = []
    with cuda.use():
        for _ in range(3):
            d_x, d_weights, d_delta = on(cuda, x, weights, delta)
            grad = cuda.empty((57, 31), np.float32)
            dense_backward(d_delta, d_x, d_weights, grad, None)
            results.append(cuda.to_host(grad))
    for grad in results[1:]:
        assert np.array_equal(grad, results[0])


# --- random numbers --------------------------------------------------------------------------------------


def test_philox_draws_the_bits_of_numpy(cuda: gn.Backend) -> None:
    source = 'extern "C" __global__ void draw(unsigned long long seed, unsigned long long word, '
    source += "unsigned long long step, unsigned int* out, int count) {"
    source += "for (int i = threadIdx.x; i < count; i += blockDim.x) out[i] = philox(seed, word, step, i); }"
    from gpunet.kernels.build import source as text

    with cuda.use():
        kernel = cuda.xp.RawKernel(text("philox.cuh") + "\n" + source, "draw")
        for seed, word, step in ((0, 3, 0), (2**64 - 1, purpose("dropout", 2), 12345678901)):
            out = cuda.empty(1001, np.uint32)
            kernel((1,), (128,), (np.uint64(seed), np.uint64(word), np.uint64(step), out, np.int32(1001)))
            assert np.array_equal(cuda.to_host(out), Stream(seed, word).draw(step, 1001))


@pytest.mark.parametrize("first", [0, 5, 24, 3001])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout_masks_are_the_same(cuda: gn.Backend, rng: np.random.Generator, dtype: str, first: int) -> None:
    y = rng.standard_normal((133, 17)).astype(dtype)
    stream = Stream(5, purpose("dropout", 1))
    mask, out = np.empty_like(y), np.empty_like(y)
    dropout(y, stream, 0.3, counters(41), mask, out, first)
    with cuda.use():
        d_y, control, d_mask, d_out = on(cuda, y, counters(41), mask, out)
        d_mask.fill(7)
        dropout(d_y, stream, 0.3, control, d_mask, d_out, first)
    assert np.array_equal(cuda.to_host(d_mask), mask)
    assert np.array_equal(cuda.to_host(d_out), out)
    assert 0.55 < (mask > 0).mean() < 0.85


def test_a_layer_drops_the_same(cuda: gn.Backend, rng: np.random.Generator) -> None:
    x, weights = rng.random((30, 20), np.float32), rng.random((20, 18), np.float32)
    masks = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            d_x, d_weights, control = on(device, x, weights, counters(3))
            out, mask, kept = (device.empty((30, 18), np.float32) for _ in range(3))
            drop = Drop(Stream(1, purpose("dropout")), 0.5, control, mask, kept)
            dense_forward(d_x, d_weights, device.zeros(18, np.float32), gn.ACTIVATIONS["relu"], None, out, drop)
        masks.append((device.to_host(mask), device.to_host(kept)))
    assert np.array_equal(masks[1][0], masks[0][0])
    np.testing.assert_allclose(masks[1][1], masks[0][1], 1e-5)


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize("size", [1, 31, 32, 255, 256, 257, 2048, 2049])
def test_dropout_of_any_size(cuda: gn.Backend, size: int, first: int) -> None:
    y, stream = np.arange(1, size + 1, dtype=np.float32), Stream(6, purpose("dropout", 1))
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            d_y, control, mask, out = on(device, y, counters(2), np.full(size + 1, 9, np.float32), np.zeros_like(y))
            dropout(d_y, stream, 0.5, control, mask[:size], out, first)
            found.append((device.to_host(mask), device.to_host(out)))
    assert found[1][0][size] == 9
    for wanted, got in zip(*found, strict=True):
        assert np.array_equal(got, wanted)


# --- elements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 341, 342, 1000])
def test_elements_of_large_arrays_have_the_bits_of_those_of_small_ones(
    cuda: gn.Backend, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    x = rng.standard_normal((rows, 3)).astype(np.float32)
    adam, found = gn.Adam(), []
    table = adam.coefficients(np.ones(1), np.full(1, 0.1)).astype(np.float32)
    for many in (1 << 18, 0):
        monkeypatch.setattr("gpunet.kernels.launches.MANY", many)
        with cuda.use():
            parameters, gradients, of_adam, control = on(cuda, x.ravel(), x[::-1].ravel(), table, counters())
            state = [cuda.zeros(3 * rows, np.float32) for _ in adam.state_names]
            add_penalty(gradients, parameters, 3 * rows - 1, 0.1, 0.01)
            update(parameters, gradients, state, adam, of_adam, control, 5)
            d_x, weights, bias = on(cuda, x, x[:1].T @ x[:1], x[0])
            pre, plain, kept = (cuda.empty((rows, 3), np.float32) for _ in range(3))
            dense_forward(d_x, weights, bias, gn.ACTIVATIONS["relu"], None, plain)
            dense_forward(d_x, weights, bias, gn.ACTIVATIONS["gelu"], pre, kept)
            narrow = cuda.empty((rows, 3), np.uint16)
            to_bfloat16(d_x, narrow)()
            assert int(control[at.NEXT]) == 1
        arrays = (parameters, gradients, *state, plain, pre, kept, narrow)
        found.append([cuda.to_host(array).tobytes() for array in arrays])
    assert found[0] == found[1]


# --- losses ----------------------------------------------------------------------------------------------


def loss_both_ways(
    cuda: gn.Backend, loss: gn.Loss, batch: int, outputs: int, soft: bool, dtype: str = "float32", scale: float = 3.0
) -> None:
    rng = np.random.default_rng(batch * 31 + outputs)
    logits = (scale * rng.standard_normal((batch, outputs))).astype(dtype)
    bias = rng.standard_normal(outputs).astype(dtype)
    targets = rng.integers(0, outputs, batch).astype(np.int32)
    if outputs == 1 and loss.output != "softmax":
        targets = rng.integers(0, 2, batch).astype(np.int32)
    if soft:
        targets = rng.random((batch, outputs)).astype(dtype)
        targets = (targets / targets.sum(axis=1, keepdims=True)).astype(dtype)
    found = []
    wide = np.float64 if dtype == "float64" else np.float32
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            d_logits, d_bias, d_targets, control = on(device, logits, bias, targets, counters())
            delta, grad_bias = device.empty(logits.shape, dtype), device.empty(outputs, dtype)
            losses = device.zeros(batch, wide)
            loss_step(d_logits, d_bias, d_targets, loss, delta, grad_bias, losses, control)
        assert int(device.to_host(control)[at.NONFINITE]) == -1
        found.append((d_logits, delta, grad_bias, losses))
    for wanted, got in zip(*found, strict=True):
        close(cuda, got, wanted)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_loss(cuda: gn.Backend, name: str, soft: bool) -> None:
    loss_both_ways(cuda, gn.LOSSES[name](), 23, 10, soft)


# How many threads share a row is a matter of the two files that go over rows, and not of a loss's formula.
@pytest.mark.parametrize("many", [4096, 1], ids=["few rows", "many rows"])
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "soft"])
@pytest.mark.parametrize("outputs", [1, 3, 100, 1000, 1025])
@pytest.mark.parametrize("name", ["softmax-cross-entropy", "mse"])
def test_loss_of_any_width(
    cuda: gn.Backend, monkeypatch: pytest.MonkeyPatch, name: str, outputs: int, soft: bool, many: int
) -> None:
    monkeypatch.setattr("gpunet.kernels.losses.MANY", many)
    loss_both_ways(cuda, gn.LOSSES[name](), 23, outputs, soft)


@pytest.mark.parametrize("name", sorted(gn.LOSSES))
def test_loss_of_doubles(cuda: gn.Backend, name: str) -> None:
    loss_both_ways(cuda, gn.LOSSES[name](), 9, 3, False, "float64")


def test_loss_with_smoothing_and_class_weights(cuda: gn.Backend) -> None:
    for outputs in (4, 70):
        weights = np.linspace(0.5, 2, outputs)
        loss_both_ways(cuda, gn.SoftmaxCrossEntropy(0.1, weights), 1100, outputs, False)


def test_loss_of_100003_classes(cuda: gn.Backend) -> None:
    loss_both_ways(cuda, gn.SoftmaxCrossEntropy(), 2, 100_003, False)


@shapes
@given(batch=st.integers(1, 300), outputs=st.integers(1, 90), scale=st.sampled_from([0.0, 1.0, 1e4]))
def test_softmax_cross_entropy_over_shapes(cuda: gn.Backend, batch: int, outputs: int, scale: float) -> None:
    loss_both_ways(cuda, gn.SoftmaxCrossEntropy(), batch, outputs, False, scale=scale)


@pytest.mark.parametrize("dtype", ["float16", *DTYPES])
@pytest.mark.parametrize("layout", ["C", "F", "every second"])
@pytest.mark.parametrize("outputs", [3, 200])
def test_softmax_cross_entropy_function(
    cuda: gn.Backend, rng: np.random.Generator, dtype: str, layout: str, outputs: int
) -> None:
    logits = (4 * rng.standard_normal((14, outputs))).astype(dtype)
    labels = rng.integers(0, outputs, 14).astype(np.uint8)
    if layout == "F":
        logits = np.asfortranarray(logits)
    with cuda.use():
        device_logits, device_labels = cuda.xp.asarray(logits), cuda.xp.asarray(labels)
        if layout == "every second":
            logits, labels = logits[::2], labels[::2]
            device_logits, device_labels = device_logits[::2], device_labels[::2]
        loss, delta = gn.softmax_cross_entropy(logits, labels)
        device_loss, device_delta = gn.softmax_cross_entropy(device_logits, device_labels)
        assert device_delta.dtype == dtype
        assert float(device_loss) == pytest.approx(float(loss), rel=CLOSE[dtype][0])
        close(cuda, device_delta, np.ascontiguousarray(delta))
        # one-hot rows say the same
        one_hot = cuda.xp.asarray(np.eye(outputs, dtype=dtype)[labels])
        assert float(gn.softmax_cross_entropy(device_logits, one_hot)[0]) == pytest.approx(
            float(loss), rel=CLOSE[dtype][0]
        )


def test_functions_refuse_what_they_cannot_take(cuda: gn.Backend) -> None:
    with cuda.use():
        logits, labels = cuda.xp.zeros((4, 3), np.float32), cuda.xp.zeros(4, np.int32)
        with pytest.raises(gn.UsageError, match="empty"):
            gn.softmax_cross_entropy(logits[:0], labels[:0])
        with pytest.raises(gn.DeviceError, match="different devices"):
            gn.softmax_cross_entropy(logits, np.zeros(4, np.int32))
        with pytest.raises(gn.DeviceError, match="different devices"):
            gn.softmax_cross_entropy(np.zeros((4, 3), np.float32), labels)


@pytest.mark.parametrize("outputs", [4, 100])
def test_a_loss_that_is_not_finite_is_noted(cuda: gn.Backend, outputs: int) -> None:
    with cuda.use():
        logits, targets, control = on(cuda, np.zeros((3, outputs), np.float32), np.zeros(3, np.int32), counters(17))
        logits[1, 2] = np.nan
        delta, losses = cuda.empty((3, outputs), np.float32), cuda.zeros(3, np.float32)
        loss_step(logits, None, targets, gn.SoftmaxCrossEntropy(), delta, None, losses, control)
        assert int(control[at.NONFINITE]) == 17


# --- optimizers and penalties ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(gn.OPTIMIZERS))
def test_optimizer(cuda: gn.Backend, name: str, dtype: str) -> None:
    optimizer = gn.OPTIMIZERS[name]()
    size, decayed = 1003, 700
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        rng = np.random.default_rng(3)
        table = optimizer.coefficients(np.arange(5) + 1.0, np.full(5, 0.05)).astype(dtype)
        with device.use():
            parameters, control, d_table = on(device, rng.standard_normal(size).astype(dtype), counters(), table)
            state = [device.zeros(size, dtype) for _ in optimizer.state_names]
            for _ in range(5):
                control[at.STEP] = control[at.NEXT]
                (gradients,) = on(device, rng.standard_normal(size).astype(dtype))
                update(parameters, gradients, state, optimizer, d_table, control, decayed)
            assert int(control[at.NEXT]) == 5
        found.append((parameters, *state))
    for wanted, got in zip(*found, strict=True):
        close(cuda, got, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_penalties_and_clipping(cuda: gn.Backend, rng: np.random.Generator, dtype: str) -> None:
    g, w = rng.standard_normal(5001).astype(dtype), rng.standard_normal(5001).astype(dtype)
    w[::7] = 0
    matrix = rng.standard_normal((45, 37)).astype(dtype)
    found = []
    for device in (gn.get_backend("cpu"), cuda):
        with device.use():
            d_g, d_w, d_matrix = on(device, g, w, matrix)
            partial = device.empty(PARTIAL_SUMS, np.float64)
            add_penalty(d_g, d_w, 4000, 0.1, 0.01)
            penalised = d_g.copy()
            clip_by_norm(d_g, 2.0, partial)
            short = d_g.copy()
            clip_by_norm(short, 1e3, partial)
            clip_columns(d_matrix, 6.5)
        found.append((penalised, d_g, short, d_matrix))
    for wanted, got in zip(*found, strict=True):
        close(cuda, got, wanted)
    norms = np.sqrt((matrix.astype(np.float64) ** 2).sum(axis=0))
    assert norms.min() < 6.5 < norms.max()


@pytest.mark.parametrize(("size", "blocks"), [(1, 1024), (256, 1024), (257, 1024), (3000, 3), (70_000, 1024)])
def test_norms_by_any_number_of_blocks(
    cuda: gn.Backend, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, size: int, blocks: int
) -> None:
    monkeypatch.setattr("gpunet.kernels.penalties.PARTIAL_SUMS", blocks)
    vector = rng.standard_normal(size)
    with cuda.use():
        (d_vector,) = on(cuda, vector)
        clip_by_norm(d_vector, 0.1, cuda.empty(PARTIAL_SUMS, np.float64))
    close(cuda, d_vector, vector * 0.1 / max(np.linalg.norm(vector), 0.1))


def test_a_kernel_is_made_once() -> None:
    pytest.importorskip("cupy")
    defines = (("REAL", "float"), ("ACC", "float"))
    assert raw("column_sum.cu", "column_sum", *defines) is raw("column_sum.cu", "column_sum", *defines)
