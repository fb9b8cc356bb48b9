"""Every operation that exists for NumPy and for CUDA, both forms side by side, one entry per operation."""
