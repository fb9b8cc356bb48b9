"""What CUDA needs of the host: CuPy and devices, faults and their remedies, queues, graphs, staging of copies."""
