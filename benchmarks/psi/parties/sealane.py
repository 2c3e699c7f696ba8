"""psi.vole: `python -m benchmarks.psi.parties.sealane NAME SOCKET_FD IN.csv OUT.csv SESSION`; a is the receiver."""

import gc
import json
import os
import resource
import socket
import sys

from mpc import ahead


def run(name: str, descriptor: str, source: str, target: str, session: str) -> None:
    os.environ.update(ahead.SETTINGS)
    ahead.keep_freed_memory()
    gc.disable()  # as much is imported, and nothing of it is garbage
    import pyarrow as pa
    from pyarrow import csv

    from benchmarks.pipes import SocketPipe
    from mpc.channel import CountingPipe, MessageChannel
    from mpc.job import Job, Member
    from mpc.psi.vole import SPEC
    from mpc.rng import system_rng
    from mpc.session import run_role
    from mpc.spec import no_progress

    gc.freeze()
    gc.enable()
    members = {party: Member(role, columns={"key": ("id",)}) for party, role in (("a", "receiver"), ("b", "sender"))}
    job = Job("psi.vole", members, ("a", "b"), id="0" * 32)
    table = csv.read_csv(source, convert_options=csv.ConvertOptions(column_types={"id": pa.string()}))
    pipe = SocketPipe(socket.socket(fileno=int(descriptor)))
    counted = CountingPipe(pipe)
    channels = {"b" if name == "a" else "a": MessageChannel(counted)}
    outcome = run_role(SPEC, job, name, {"key": table}, channels, system_rng, no_progress, bytes.fromhex(session))
    pipe.close()
    csv.write_csv(outcome.table, target)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"sent_bytes": counted.sent_bytes, "peak_mb": peak, **outcome.facts}), flush=True)
    os._exit(0)  # as a node's worker does: nothing is left to do but to take down Arrow, piece by piece


if __name__ == "__main__":
    run(*sys.argv[1:])
