"""A network that loses its connections, or half of one, between two nodes while they run a job: the job completes."""

import ssl
import sys
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from mpc.job import Job
from parties.jobs.states import State
from parties.sandbox import Sandbox, sandbox
from tests.faultproxy import Direction, FaultProxy
from tests.nodes.observe import ANN_ROWS, BOB_ROWS, end_of, held_back, psi, until, verify_evidence, worker_pid

pytestmark = pytest.mark.nodes

MANY = 150_000
CUT_EVERY_BYTES = 3 * 2**19  # more than a frame has: only whole ones count
TLS_LIFETIME_S = 4

#: The node as `sealane serve` runs it, but for how long its TLS certificates live.
SHORT_LIVED_TLS = f"""
from datetime import timedelta
from parties.identity import certificates
certificates.TLS_LIFETIME = timedelta(seconds={TLS_LIFETIME_S})
from parties.cli import main
main()
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    with sandbox("ann", "bob", settings={"keepalive_s": 0.5}) as running:
        for name, rows, first, column in (("ann", ANN_ROWS, 0, "v"), ("bob", BOB_ROWS, MANY // 2, "w")):
            ids = range(first, first + MANY)
            running[name].node.add_dataset("rows", rows, ["id"])
            running[name].node.add_dataset("many", pa.table({"id": ids, column: ids}), ["id"])
        running.allow(psi())
        running.allow(_many())
        yield running


def _many() -> Job:
    job = psi()
    members = {name: replace(member, dataset="many") for name, member in job.members.items()}
    return replace(job, protocol="psi.vole", members=members)


def _dial_through(nodes: Sandbox, proxy: FaultProxy) -> None:
    """Let Bob dial Ann through the proxy; Ann waits for his call."""
    nodes["bob"].node.set_peer_address("ann", f"127.0.0.1:{proxy.port}")
    until(lambda: proxy.connections)
    nodes.wait_connected()


def _certificate(nodes: Sandbox) -> str:
    """What Ann's node shows to whoever dials it now."""
    return ssl.get_server_certificate(("127.0.0.1", nodes["ann"].port))


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_job_outlives_a_partition_in_one_direction(nodes: Sandbox, direction: Direction) -> None:
    with FaultProxy(nodes["ann"].port) as proxy:
        _dial_through(nodes, proxy)
        with held_back(nodes["bob"]):
            record = nodes["ann"].node.propose(psi())
            worker_pid(nodes["bob"], record.id)
            proxy.drop = frozenset([direction])
            for one, other in (("ann", "bob"), ("bob", "ann")):
                until(lambda: nodes[one].node.links()[nodes[other].node.fingerprint]["state"] != "connected")  # noqa: B023
            proxy.drop = frozenset()
            nodes.wait_connected()
        assert end_of(nodes, record.id)["ann"].state is State.SUCCEEDED
        assert nodes["ann"].node.result(record.id).num_rows == 11


def test_a_connection_cut_again_and_again_in_a_job_changes_no_byte_of_its_result(nodes: Sandbox) -> None:
    nodes.connect()
    nodes.wait_connected()
    undisturbed = nodes.run(_many())["ann"]
    assert undisturbed["v"].to_pylist() == list(range(MANY // 2, MANY))
    with FaultProxy(nodes["ann"].port, cut_every_bytes=CUT_EVERY_BYTES) as proxy:
        _dial_through(nodes, proxy)
        record = nodes["ann"].node.propose(_many())
        assert end_of(nodes, record.id)["ann"].state is State.SUCCEEDED
        assert proxy.connections >= 3
    assert nodes["ann"].node.job(record.id).attempt == 1
    assert nodes["ann"].node.result(record.id).equals(undisturbed)
    verify_evidence(nodes)


def test_a_job_goes_on_over_a_connection_with_the_certificate_that_came_after(nodes: Sandbox) -> None:
    nodes["ann"].stop()
    nodes["ann"].program = (sys.executable, "-c", SHORT_LIVED_TLS)
    nodes["ann"].start()
    with FaultProxy(nodes["ann"].port) as proxy:
        _dial_through(nodes, proxy)
        with held_back(nodes["bob"]):
            record = nodes["ann"].node.propose(psi())
            worker_pid(nodes["bob"], record.id)
            first = _certificate(nodes)
            until(lambda: _certificate(nodes) != first)
            connections = proxy.connections
            proxy.cut()
            until(lambda: proxy.connections > connections)
            nodes.wait_connected()
        assert end_of(nodes, record.id)["ann"].state is State.SUCCEEDED
        assert nodes["ann"].node.job(record.id).attempt == 1
        assert nodes["ann"].node.result(record.id).num_rows == 11
