"""Matching: speed beside SPU's RR22 (`python -m benchmarks.psi`), and many runs against the plaintext (`.campaign`)."""
