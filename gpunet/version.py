"""The version of gpunet, in one place."""

__version__ = "0.1.0"
