"""What a matching job will cost a party: a model of the work of `mpc.psi.steps`."""

from collections.abc import Mapping

from mpc.job import Job
from mpc.primitives.ristretto import POINT_BYTES
from mpc.psi.params import by_role
from mpc.psi.steps import CHUNK_KEYS, chunks, tag_bytes
from mpc.spec import Estimate

# Seconds on one core of about 3 GHz: starting the process; libsodium's ristretto255 and the work on a key in Python
# around it.
SECONDS_AT_THE_START = 0.6
SECONDS_A_MULTIPLICATION = 72e-6
SECONDS_A_HASH_TO_GROUP = 24e-6
SECONDS_A_ROW = 5e-6

BASE_BYTES = 150 * 2**20  # Python, numpy and Arrow
ROW_BYTES = 250  # a row's normal form, digest, tags and indices, at the widest moment
KEY_BYTES = 50  # of the peer: its tags, and a sorted copy
CHUNKS_IN_MEMORY = 16
MESSAGE_BYTES = 64  # a message's name and framing, rounded up


def estimate_pair(job: Job, rows: Mapping[str, int], name: str, *, bitmap: bool) -> Estimate:
    """The part of `name`, all rows taken as different keys; `bitmap`: the sender is told which of its keys matched."""
    ((peer, _),) = ((other, member) for other, member in job.members.items() if other != name)
    own, theirs = rows[name], rows[peer]
    to_receiver = tag_bytes(own, theirs) * rows[by_role(job, "receiver")]
    to_sender = -(-rows[by_role(job, "sender")] // 8) if bitmap else 0
    sends = job.members[name].role == "sender"
    rounds = chunks(max(own, theirs))
    work = SECONDS_AT_THE_START + own * (SECONDS_A_ROW + SECONDS_A_HASH_TO_GROUP + SECONDS_A_MULTIPLICATION)
    return Estimate(
        seconds=work + theirs * SECONDS_A_MULTIPLICATION,
        sent_bytes=POINT_BYTES * own + (to_receiver if sends else to_sender) + MESSAGE_BYTES * (3 + 2 * rounds),
        received_bytes=POINT_BYTES * theirs + (to_sender if sends else to_receiver) + MESSAGE_BYTES * (3 + 2 * rounds),
        peak_bytes=BASE_BYTES + ROW_BYTES * own + KEY_BYTES * theirs + CHUNKS_IN_MEMORY * POINT_BYTES * CHUNK_KEYS,
    )
