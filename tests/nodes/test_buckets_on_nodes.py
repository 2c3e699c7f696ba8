"""Matching out of core, and a protocol that is chosen, between real nodes."""

from dataclasses import replace

import pytest

from parties.sandbox import Sandbox
from tests.nodes.observe import ANN_ROWS, end_of, psi, until

pytestmark = pytest.mark.nodes

COMMON = {f"id-{i}" for i in range(20, 30)}
WANTED = [row for row in ANN_ROWS.to_pylist() if row["id"] in COMMON]


def test_keys_in_buckets_match_and_what_was_spooled_goes_when_the_job_ends(pair: Sandbox) -> None:
    job = replace(psi(), protocol="psi.vole_buckets")
    assert pair.run(job)["ann"].to_pylist() == WANTED
    assert end_of(pair, job.id)["bob"].facts["buckets"] == 1
    for name in pair:
        folder = pair[name].node.home.spool
        until(lambda folder=folder: not folder.exists() or not list(folder.iterdir()))  # type: ignore[misc]


def test_the_node_measures_and_asks_before_it_chooses(pair: Sandbox) -> None:
    job, choice = pair["ann"].node.choose(replace(psi(), protocol="psi"))
    assert choice is not None
    assert job.protocol == choice.protocol == "psi.ecdh"
    assert pair.run(job)["ann"].to_pylist() == WANTED
