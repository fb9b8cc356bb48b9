"""Training on a CUDA device whose memory ends, and what is said to be needed."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from small_runs import finish, out_of_memory, trainer

import gpunet as gn
from gpunet.training.memory import training_bytes


def test_no_memory_for_a_trainer(cuda: gn.Backend, small: gn.Dataset) -> None:
    model = gn.MLP([30, 18, 4], backend=cuda)
    before = cuda.to_host(model.flat)
    with out_of_memory(cuda), pytest.raises(gn.DeviceError) as caught:
        gn.Trainer(model, small, batch_size=25)
    told = str(caught.value)
    assert "training needs about" in told
    assert "lower the batch size (25) or the hidden sizes (18)" in told
    assert np.array_equal(cuda.to_host(model.flat), before)


def test_no_memory_in_between_leaves_the_run_resumable(cuda: gn.Backend, small: gn.Dataset) -> None:
    whole = finish(trainer(small, cuda))
    one = trainer(small, cuda)
    steps = one.steps()
    next(steps)
    with out_of_memory(cuda), pytest.raises(gn.DeviceError, match="lower the batch size"):
        gn.evaluate(one.model, small.test)
    with out_of_memory(cuda), pytest.raises(gn.DeviceError, match="lower the batch size"):
        gn.MLP([30, 5, 4], backend=cuda)
    assert one.iteration == 10
    rest = [record.loss for record in steps if record.event == "step"]
    assert whole[0] == whole[0][:1] + rest
    assert np.array_equal(cuda.to_host(one.model.flat), whole[2])


def test_the_estimate_is_what_is_allocated(cuda: gn.Backend, small: gn.Dataset) -> None:
    first = trainer(small, cuda, precision="bfloat16")  # brings cuBLAS's workspace, which stays on the device
    assert first.mode.workspace
    for options in (
        {},
        {"precision": "bfloat16"},
        {"optimizer": "adam", "dropout": 0.5, "activation": "gelu", "dtype": "float64"},
    ):
        data = gn.load_dataset("mnist-5k")  # its own, since the inputs of one that was trained on are there already
        gc.collect()  # so that nothing of other tests is freed in between
        before = cuda.xp.get_default_memory_pool().used_bytes()
        one = trainer(data, cuda, (784, 50, 30, 10), batch_size=100, **options)
        used = cuda.xp.get_default_memory_pool().used_bytes() - before
        if not used:
            pytest.skip("CuPy's memory pool, which counts, is switched off")
        parts = training_bytes(one.model, data, one.optimizer, 100, one.mode)
        assert (parts["products"] > 0) != one.mode.fused
        assert sum(parts.values()) - parts["products"] == pytest.approx(used, rel=0.05)
        del one  # which would be freed while the next is counted
