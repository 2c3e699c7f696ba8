"""What each party's keys look like under the agreed normalisation, before anything is matched.

Output:   every party learns, of each party, how many rows it has, how many of them lack a key, have an invalid one or
          repeat one, and how many different keys there are.
Leaks:    these counts are the output; nothing else is sent, in particular nothing computed from a value.
Security: a party can misstate its own counts.
Cost:     one message of less than 100 bytes to each other party; no cryptography.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.psi.estimates import BASE_BYTES, MESSAGE_BYTES, ROW_BYTES, SECONDS_A_ROW
from mpc.psi.params import DryRunParams, check_keys
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import psi_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Quality


def compare(party: Party[DryRunParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """One row a party, in the order of their names: party, rows, nulls, invalid, duplicates, distinct."""
    from mpc.psi.table import load_quality, quality_rows

    own = load_quality(party, tables)
    found = {party.name: own}
    for channel in party.peers.values():
        channel.send(psi_pb2.Quality(**asdict(own)))
    for peer, channel in party.peers.items():
        found[peer] = _read(peer, channel.recv(psi_pb2.Quality))
    facts = {name: count for name, count in asdict(own).items() if name != "rows"}
    return Outcome(quality_rows(dict(sorted(found.items()))), {"own_rows": own.rows, **facts})


def _read(peer: str, message: psi_pb2.Quality) -> "Quality":
    from mpc.keys import Quality

    if message.rows >= 2**62 or message.rows != (
        message.nulls + message.invalid + message.duplicates + message.distinct
    ):
        raise ProtocolError(f"{peer}: sent counts that do not add up to its rows")
    return Quality(message.rows, message.nulls, message.invalid, message.duplicates, message.distinct)


def _check(job: Job, params: DryRunParams) -> None:
    check_keys(job, params)
    if set(job.receivers) != set(job.members):
        raise InputError("every member of a dry run learns the counts", hint="name all members as receivers")


def _reveals(job: Job, _params: DryRunParams) -> Mapping[str, str]:
    counts = "how many keys are missing, invalid, repeated and different"
    return dict.fromkeys(job.members, f"of each other party how many rows it has, and among them {counts}")


def _estimate(job: Job, _params: DryRunParams, rows: Mapping[str, int], name: str) -> Estimate:
    sent = MESSAGE_BYTES * 2 * (len(job.members) - 1)
    return Estimate(SECONDS_A_ROW * rows[name], sent, sent, BASE_BYTES + ROW_BYTES * rows[name])


SPEC = Spec(
    name="psi.dry_run",
    version=1,
    summary="Compare how clean all parties' keys are under the agreed normalisation, before matching them.",
    params=DryRunParams,
    roles={
        "party": Role(
            compare,
            {
                "key": Slot(
                    "key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs"
                )
            },
            least=2,
            most=50,
        )
    },
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda _params: 0,
    check=_check,
)
