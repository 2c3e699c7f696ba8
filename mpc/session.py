"""One attempt at a job: greet every peer, play the role, check what comes out. The same for every transport."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from mpc.channel import Channel, NamedChannel
from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.questions import Question
from mpc.rng import Rng
from mpc.spec import Outcome, Party, Progress, Rows, Spec, no_opening
from mpc.spool import MemorySpool, Spool
from protos import session_pb2

if TYPE_CHECKING:
    import pyarrow as pa

SESSION_BYTES = 16


def run_role(
    spec: Spec[Any],
    job: Job,
    name: str,
    tables: "Mapping[str, pa.Table]",
    peers: Mapping[str, Channel],
    rng: Rng,
    progress: Progress,
    session: bytes,
    *,
    spool: Spool | None = None,
    pool: Executor | None = None,
    model: bytes = b"",
    opening: Callable[[], None] = no_opening,
    questions: Iterable[Question] = (),
    rows: Rows | None = None,
    program: bytes = b"",
) -> Outcome:
    """Play the part of `name` in `job` over one channel to each other member.

    `tables` holds one Arrow table a slot of the role, with the columns that the job names, in its order.
    `spool` keeps what may outlive the attempt (None: nothing does); `pool`, `model`, `opening`, `questions`, `rows`
    and `program` are as in `Party`. Raises what the protocol raises; `ProtocolError` too when a peer means another job,
    version or attempt. What a channel or its messages raise names the peer.
    """
    params = spec.parse(job)
    if set(peers) != set(job.members) - {name}:
        raise InputError(f"{name} needs a channel to each other member of the job")
    if spec.model(params) and not model:
        raise InputError(f"{name} has no part of the model that job {spec.model(params)} trained")
    wanted = spec.program(job, params, name)
    if wanted and hashlib.sha256(program).hexdigest() != wanted:
        raise InputError(f"{name} was not given the program {wanted} that the job runs")
    hello = session_pb2.Hello(
        protocol=spec.name,
        version=spec.version,
        job_digest=bytes.fromhex(job.digest),
        session=session,
        party=name,
    )
    named = {peer: NamedChannel(peer, channel) for peer, channel in peers.items()}
    for channel in named.values():
        channel.send(hello)
    for peer, channel in named.items():
        _check_hello(hello, channel.recv(session_pb2.Hello), peer)
    role = spec.roles[job.members[name].role]
    spool = MemorySpool() if spool is None else spool
    party = Party(
        name, job, params, named, rng, progress, session, spool, pool, model, opening, rows, questions, program
    )
    outcome = role.run(party, tables)
    if (outcome.table is not None) != (name in job.receivers):
        raise AssertionError(f"{spec.name}: exactly the receivers end with a table")
    return outcome


def _check_hello(ours: session_pb2.Hello, theirs: session_pb2.Hello, peer: str) -> None:
    if theirs.party != peer:
        raise ProtocolError(f"{peer}: greeted as another party")
    if (theirs.protocol, theirs.version) != (ours.protocol, ours.version):
        raise ProtocolError(
            f"{peer}: runs {theirs.protocol[:40]!r} version {theirs.version}, here it is {ours.protocol!r} version "
            f"{ours.version}"
        )
    if theirs.job_digest != ours.job_digest:
        raise ProtocolError(f"{peer}: means a job with other contents under the same name")
    if theirs.session != ours.session:
        raise ProtocolError(f"{peer}: is in another attempt at this job")
