"""Marks in the work of a GPU: asked for and never waited for, by any thread, while a graph is captured too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import gpunet as gn


def test_a_mark_is_reached_when_the_work_is_done(cuda: gn.Backend) -> None:
    with ThreadPoolExecutor(1) as other, cuda.use():  # the other thread does not wait for this one to leave the device
        cuda.zeros(1000, np.float32)
        mark = other.submit(cuda.mark).result(timeout=60)
        cuda.synchronize()
        assert mark.done
        assert other.submit(lambda: mark.done).result(timeout=60)


def test_nobody_asks_while_a_graph_is_captured(cuda: gn.Backend) -> None:
    seen = []
    with ThreadPoolExecutor(1) as other, cuda.use():
        array = cuda.zeros(10, np.float32)
        array += 1  # compiled before the capture
        mark = cuda.mark()
        cuda.synchronize()

        def work() -> None:
            nonlocal array
            array += 1
            seen.append(other.submit(lambda: mark.done).result(timeout=60))

        graph = cuda.capture(work)
        assert seen == [False]
        assert mark.done
        graph.launch()
        assert cuda.to_host(array).tolist() == [2.0] * 10
