"""What is told over plain HTTP to an operator's monitoring."""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from mpc.errors import InputError
from parties.metrics import Metrics


@contextmanager
def _served(metrics: Metrics, ready: Callable[[], bool], host: str = "127.0.0.1") -> Iterator[str]:
    """Its URL."""
    host = f"[{host}]" if ":" in host else host
    with closing(metrics.serve(f"{host}:0", ready, lambda: None)) as listener:
        assert listener._server is not None
        yield f"http://{host}:{listener._server.server_port}"


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_node_that_takes_no_work_is_healthy_and_not_ready() -> None:
    takes_work = True
    with _served(Metrics(), lambda: takes_work) as url:
        assert [_get(f"{url}/{path}")[0] for path in ("healthz", "readyz", "nothing")] == [200, 200, 404]
        takes_work = False
        assert [_get(f"{url}/{path}")[0] for path in ("healthz", "readyz")] == [200, 503]


def test_a_removed_peer_has_no_link_that_could_be_down() -> None:
    metrics = Metrics()
    for gauge in (metrics.links, metrics.sent, metrics.received):
        gauge.labels("cn-bank").set(0)
        gauge.labels("telecom").set(1)
    metrics.forget("cn-bank")
    metrics.forget("cn-bank")
    with _served(metrics, lambda: True) as url:
        _, text = _get(f"{url}/metrics")
    assert "cn-bank" not in text
    assert 'sealane_link_connected{peer="telecom"} 1.0' in text


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_addresses_are_listened_on() -> None:
    with _served(Metrics(), lambda: True, "::1") as url:
        assert _get(f"{url}/healthz") == (200, "200 OK\n")


def test_no_address_is_no_server() -> None:
    Metrics().serve("", lambda: True, lambda: None).close()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError, match=f"cannot listen on {address}: Address already in use"):
            Metrics().serve(address, lambda: True, lambda: None)
