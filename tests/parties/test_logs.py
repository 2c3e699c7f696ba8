"""The log as another program reads it."""

import json
import socket
import subprocess
import sys

PROGRAM = """
import structlog
from parties import logs
logs.configure("info")
for number in range(3):
    structlog.get_logger().info("counted", number=number)
"""


def test_an_event_is_one_write_of_a_whole_line() -> None:
    """A process killed between two writes would leave a line that the next one continues."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # a message is what one write wrote
    with ours:
        with theirs:
            subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs, check=True, timeout=60)
        written = [ours.recv(1 << 16) for _ in range(3)]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    assert [json.loads(line)["number"] for line in written] == [0, 1, 2]
