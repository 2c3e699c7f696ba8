"""Measurements, apart from the tests: each module runs alone as `python -m benchmarks.NAME`."""
