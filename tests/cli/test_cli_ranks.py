"""`gpunet train` with several ranks: what is refused, and that it is said once."""

from __future__ import annotations

import pytest
from command_line import gpunet, process
from cuda_device import cuda_reason


def test_workers_that_cannot_have_their_devices_say_so_once() -> None:
    if not cuda_reason():
        pytest.skip("there is a CUDA device")
    done = process("train", "--device", "cuda:0,cuda:1", "--iterations", 5, code=1)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"Error: {cuda_reason()}"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "--device", "cuda:0,cuda:1", "--distributed", "mpi"), "these are trained on by nccl"),
        (("train", "--device", "cuda:0,cpu"), "--device cuda:0,cpu"),
        (("train", "--distributed", "smoke"), "mpi"),
        (("sweep", "--distributed", "mpi", "--lr", "0.1,0.2"), "each run of a sweep is trained by one process"),
        (("lr-find", "--distributed", "mpi"), "leave it out"),
    ],
)
def test_what_does_not_go_with_ranks_is_refused(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in gpunet(*words, code=2).stderr
