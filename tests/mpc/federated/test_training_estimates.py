"""What training is said to cost depends on the processor that will do it."""

from unittest.mock import patch

import pytest

from mpc.job import Job, Member
from mpc.kernels.montgomery import MACHINES
from mpc.registry import get
from mpc.spec import Estimate

ROWS = {"bank": 100_000, "telco": 100_000}
KEY = {"key": ("id",), "feature": ("a", "b")}
JOBS = {
    protocol: Job(
        protocol,
        {"bank": Member(leads, "rows", KEY | label), "telco": Member(follows, "rows", KEY)},
        ("bank",),
        {"key_bits": 2048},
    )
    for protocol, leads, follows, label in (
        ("train.boosted_trees", "label_holder", "feature_holder", {"label": ("y",)}),
        ("train.regression", "label_holder", "feature_holder", {"label": ("y",)}),
        ("feature.woe", "label_holder", "feature_holder", {"label": ("y",)}),
        ("feature.correlation", "first", "second", {}),
    )
}


def estimate(protocol: str, name: str = "bank", **params: object) -> Estimate:
    spec, job = get(protocol), JOBS[protocol]
    job = Job(protocol, job.members, job.receivers, {**job.params, **params}, id=job.id)
    return spec.estimate(job, spec.parse(job), ROWS, name)


@pytest.mark.parametrize("name", ["bank", "telco"])
@pytest.mark.parametrize("protocol", JOBS)
def test_the_slower_the_kernel_the_longer_the_estimate_and_nothing_else_changes(protocol: str, name: str) -> None:
    found = []
    for machine in (*MACHINES, None):
        with patch("mpc.kernels.montgomery.best_machine", return_value=machine):
            found.append(estimate(protocol, name))
    seconds = [each.seconds for each in found]
    assert seconds == sorted(set(seconds))
    assert len({(each.sent_bytes, each.received_bytes, each.peak_bytes) for each in found}) == 1
    # What does not depend on the kernel follows from the first two; the others differ in the rest alone.
    rest = (2.2 * seconds[0] - seconds[1]) / 1.2
    assert seconds[2] - rest == pytest.approx(4 * (seconds[0] - rest))
    assert seconds[3] - rest == pytest.approx(8 * (seconds[0] - rest))


@pytest.mark.parametrize("protocol", JOBS)
def test_strict_encryption_takes_longer_than_fast_and_longer_keys_longer_than_short_ones(protocol: str) -> None:
    assert estimate(protocol, encryption="strict").seconds > estimate(protocol, encryption="fast").seconds
    assert estimate(protocol, key_bits=3072).seconds > estimate(protocol).seconds
