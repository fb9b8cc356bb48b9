"""Whether there is a CUDA device to test on."""

from __future__ import annotations

import functools

import gpunet as gn


@functools.cache
def cuda_reason() -> str:
    """Why there is no CUDA device to test on; empty if there is one."""
    try:
        gn.get_backend("cuda")
    except gn.DeviceError as error:
        return str(error)
    return ""
