"""The window of coefficients: where it begins, and that it holds the same numbers wherever a run was resumed."""

from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet.kernels import control as at
from gpunet.training import coefficients
from gpunet.training.coefficients import Coefficients
from gpunet.training.schedules import as_schedule


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coefficients, "TABLE_ROWS", 64)


def window(backend: gn.Backend, step: int) -> tuple[int, int, np.ndarray]:
    """(step that refills, BASE, table) after a refill for `step`, of a run of 1,000 steps."""
    with backend.use():
        control = backend.to_device(at.fresh())
        optimizer = gn.Adam(0.001)
        one = Coefficients(
            backend, np.float64, optimizer, as_schedule(gn.schedules.Cosine(0.1)), iterations=1000, control=control
        )
        again = one.refill(step)
        return again, int(control[at.BASE]), backend.to_host(one.tables[1.0])


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("step", [64, 65, 100, 127])
def test_a_window_begins_at_a_multiple_of_its_length(backend: gn.Backend, step: int) -> None:
    again, base, table = window(backend, step)
    assert (again, base) == (128, 64)
    # The same bits as of a run that came here without a pause.
    np.testing.assert_array_equal(table, window(backend, 64)[2])
    # Adam's correction of its mean, at steps that are counted from 1.
    np.testing.assert_allclose(table[:, 2], table[:, 1] / (1 - 0.9 ** np.arange(65, 129)), rtol=1e-12)


@pytest.mark.usefixtures("small_windows")
def test_the_last_window_ends_with_the_run(backend: gn.Backend) -> None:
    assert window(backend, 999)[:2] == (1000, 960)


@pytest.mark.usefixtures("small_windows")
def test_a_resumed_run_reads_the_same_rates(backend: gn.Backend) -> None:
    def trainer() -> gn.Trainer:
        data = gn.Dataset.from_arrays(np.eye(6, dtype=np.float32), np.arange(6) % 2)
        rate = gn.schedules.Cosine(0.1)
        model = gn.MLP([6, 4, 2], backend=backend)
        return gn.Trainer(model, data, optimizer=gn.Adam(rate), iterations=200, log_every=1, batch_size=2)

    through, first, second = trainer(), trainer(), trainer()
    rates = [record.learning_rate for record in through.steps() if record.event == "step"]
    for record in first.steps():
        if record.iteration == 100:
            break
    second.restore(*first.state())
    rest = [record.learning_rate for record in second.steps() if record.event == "step"]
    assert rest == rates[100:]
    assert np.array_equal(*(one.backend.to_host(one.model.flat) for one in (through, second)))
