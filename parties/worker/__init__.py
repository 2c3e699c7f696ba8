"""The process that plays one party's part in one attempt at a job: no keys, no network, one socket to its node."""
