"""What `benchmarks.paillier` runs, each in a process and an environment of its own; see `serve`."""
