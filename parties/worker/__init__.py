"""The process that runs one attempt at a job: no keys, no network, one socket to its node."""
