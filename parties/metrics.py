"""Numbers for Prometheus, and whether the node is alive and ready, over plain HTTP on an operator's address."""

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app

from mpc.errors import InputError
from parties.addresses import split


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5.0

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not worth a log line."""


class Listener:
    """The HTTP server, or nothing when no address is set."""

    def __init__(self, server: WSGIServer | None) -> None:
        self._server = server

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class Metrics:
    """The node's counters and gauges; labels are names of peers and states, never of people or data."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.jobs = Gauge("sealane_jobs", "Jobs by state.", ["state"], registry=self._registry)
        self.stored = Gauge(
            "sealane_stored_bytes", "What the node keeps, by what for.", ["what"], registry=self._registry
        )
        self.workers = Gauge("sealane_workers", "Running worker processes.", registry=self._registry)
        self.links = Gauge(
            "sealane_link_connected", "1 while the peer is connected.", ["peer"], registry=self._registry
        )
        self.sent = Gauge("sealane_link_sent_bytes", "Sent on the peer's link.", ["peer"], registry=self._registry)
        self.received = Gauge(
            "sealane_link_received_bytes", "Received on the peer's link.", ["peer"], registry=self._registry
        )
        self.failures = Counter(
            "sealane_attempts_failed", "Attempts that failed here, by kind.", ["kind"], registry=self._registry
        )
        self.refusals = Counter(
            "sealane_calls_refused", "Calls by parties that are not peers.", registry=self._registry
        )

    def forget(self, peer: str) -> None:
        """A peer was removed: nobody is to be called out of bed because its link is down."""
        for gauge in (self.links, self.sent, self.received):
            gauge.remove(peer)

    def serve(self, address: str, ready: Callable[[], bool], measure: Callable[[], None]) -> Listener:
        """Answer /metrics, /healthz (the process runs) and /readyz (it takes new work) on host:port.

        `measure` is called, from a thread of the listener's, before the metrics are told.
        """
        if not address:
            return Listener(None)
        host, port = split(address)
        metrics = make_wsgi_app(self._registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ["PATH_INFO"]
            if path == "/metrics":
                measure()
                answer: Iterable[bytes] = metrics(environ, start_response)
                return answer
            good = path == "/healthz" or (path == "/readyz" and ready())
            status = "200 OK" if good else "503 Service Unavailable" if path == "/readyz" else "404 Not Found"
            start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [status.encode() + b"\n"]

        try:
            server = make_server(host, port, app, server_class=_kind_for(host), handler_class=_Handler)
        except OSError as error:
            raise InputError(
                f"cannot listen on {address}: {error.strerror}",
                hint="set metrics_listen in settings.toml to a free port of an address of this machine",
            ) from None
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return Listener(server)


def _kind_for(host: str) -> type[_Server]:
    return _Server6 if ":" in host else _Server
