"""The steps that psi.ecdh and psi.ecdh_cardinality share: sizes, blinding twice, tags, matching.

With x = H(key) in the group, a and b the secret scalars of the two parties: each sends its a·x in a secret order,
the other answers with (or keeps) tags of b·a·x, and tags of a common key agree. Rounds alternate, so that neither
party is ever more than two chunks ahead, and each blinds its next chunk while it waits for the other's.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.channel import Channel
from mpc.errors import ProtocolError, ResultWithheld
from mpc.primitives.ristretto import POINT_BYTES, hash_each_to_group, multiply_each, random_scalar
from mpc.primitives.threads import start
from mpc.psi.params import MAX_KEYS, Params
from mpc.rng import Rng
from mpc.spec import Party
from protos import psi_pb2

if TYPE_CHECKING:
    from mpc.keys import Quality

CHUNK_KEYS = 4096
FULL_TAG_BYTES = 16  # before the cut; wide enough that a repetition among one set's tags means a repeated point
STATISTICAL_BITS = 40
_DIGEST_BYTES = 32
_DOMAIN_TAG = b"sealane/psi.tag/1\0"
_DOMAIN_GROUP = b"sealane/psi.group/1/ristretto255_XMD:SHA-512_R255MAP_RO_"

Tags = npt.NDArray[np.uint8]  # (keys, width)
Mask = npt.NDArray[np.bool_]  # one entry a key
Order = npt.NDArray[np.int64]


def tag_bytes(x: int, y: int) -> int:
    """Width of a tag such that sets of `x` and `y` keys match falsely anywhere with probability at most 2^-40."""
    bits = STATISTICAL_BITS + (max(x, 1) * max(y, 1) - 1).bit_length()  # the logarithm, exact and rounded up
    return -(-bits // 8)


def false_match_bound(x: int, y: int, width: int) -> float:
    """Union bound on the probability that any two different keys of sets of `x` and `y` have one tag."""
    return math.ldexp(x * y, -8 * width)


@dataclass(frozen=True)
class Link:
    """What both parties know once sizes are exchanged, and what this one needs to go on.

    `pairs` is how many such pairs of sets are matched in the job: they share the bound on false matches.
    """

    channel: Channel = field(repr=False)
    peer: str
    own: int
    theirs: int
    pairs: int = 1

    @property
    def rounds(self) -> int:
        return chunks(max(self.own, self.theirs))

    @property
    def tag_bytes(self) -> int:
        return tag_bytes(self.own, self.theirs)


def chunks(keys: int) -> int:
    """How many chunks `keys` keys take."""
    return -(-keys // CHUNK_KEYS)


def chunk_size(keys: int, index: int) -> int:
    """How many of `keys` keys are in chunk `index`."""
    return max(0, min(CHUNK_KEYS, keys - index * CHUNK_KEYS))


def exchange_sizes(party: Party[Params], own: int) -> Link:
    """Tell and learn how many keys there are; raises `ResultWithheld` if the smaller set cannot reach the minimum."""
    ((peer, channel),) = party.peers.items()
    channel.send(psi_pb2.Size(keys=own))
    theirs = channel.recv(psi_pb2.Size).keys
    if theirs > MAX_KEYS:
        raise ProtocolError(f"{peer}: claims {theirs} keys (at most {MAX_KEYS})")
    check_minimum(party.params, own, theirs)
    return Link(channel, peer, own, theirs)


def check_minimum(params: Params, own: int, theirs: int) -> None:
    """Raises `ResultWithheld` if the smaller set cannot reach the minimum."""
    if min(own, theirs) < params.min_result:
        raise _withheld(params, "one of the two sets has fewer keys than that")


def permutation(size: int, rng: Rng) -> Order:
    """A uniform order of `size` things, but for a bias below size² / 2^129."""
    high, low = np.frombuffer(rng(16 * size), dtype="<u8").reshape(2, size)
    return np.lexsort((low, high))


def exchange_points(link: Link, party: Party[Params], digests: npt.NDArray[np.uint8], pool: Executor) -> Iterator[Tags]:
    """Blind own keys and send them in the order of `digests`; yields, a round, the full tags of the peer's points.

    When it yields round i, this party has sent its points of round i + 1. Raises `ProtocolError` for a wrong number
    of points and for a point that is not one.
    """
    scalar = random_scalar(party.rng)
    blind = partial(_blind, scalar)
    double = partial(_double_blind, scalar, party.session)
    total = link.own + link.theirs

    def begin(index: int) -> Callable[[], bytes]:
        return start(pool, blind, digests[index * CHUNK_KEYS : (index + 1) * CHUNK_KEYS].tobytes(), _DIGEST_BYTES)

    blinded = begin(0)
    if link.rounds:
        link.channel.send(psi_pb2.Points(points=blinded()))
    for index in range(link.rounds):
        blinded = begin(index + 1)
        points = link.channel.recv(psi_pb2.Points).points
        _check_length(link, "points", len(points), POINT_BYTES * chunk_size(link.theirs, index), index)
        try:
            tags = start(pool, double, points, POINT_BYTES)()
        except ProtocolError as error:
            raise ProtocolError(f"{link.peer}: in chunk {index} of its points, {error}") from None
        if index + 1 < link.rounds:
            link.channel.send(psi_pb2.Points(points=blinded()))
        done = min(link.own, (index + 1) * CHUNK_KEYS) + min(link.theirs, (index + 1) * CHUNK_KEYS)
        party.progress("blind keys", done, total)
        yield np.frombuffer(tags, dtype=np.uint8).reshape(-1, FULL_TAG_BYTES)


def receive_tags(link: Link, index: int) -> Tags:
    """Chunk `index` of the tags of this party's points."""
    tags = link.channel.recv(psi_pb2.Tags).tags
    _check_length(link, "tags", len(tags), link.tag_bytes * chunk_size(link.own, index), index)
    return np.frombuffer(tags, dtype=np.uint8).reshape(-1, link.tag_bytes)


def join(parts: list[Tags], width: int) -> Tags:
    """All chunks as one array."""
    return np.concatenate([np.empty((0, width), dtype=np.uint8), *parts])


def as_scalars(tags: Tags) -> npt.NDArray[np.bytes_]:
    """Each row as one value; rows have one width, so the padding rule of numpy's byte strings makes none equal."""
    return np.ascontiguousarray(tags).view(f"S{tags.shape[1]}").reshape(-1)


def check_distinct(link: Link, tags: Tags) -> None:
    """Raises `ProtocolError` if the peer sent a point twice; `tags` are the full ones."""
    if len(np.unique(as_scalars(tags))) != len(tags):
        raise ProtocolError(f"{link.peer}: sent the same point more than once")


def match(link: Link, own: Tags, theirs: Tags) -> tuple[Mask, Mask]:
    """Which of the own and of the peer's keys are common, by their tags.

    Raises `ProtocolError` if a common tag occurs twice in a set: it cannot be said which key it stands for.
    Between honest parties this happens with probability at most `false_match_bound`.
    """
    group, count = _groups(np.concatenate([own, theirs]))
    x, y = group[: len(own)], group[len(own) :]
    owned, held = np.bincount(x, minlength=count), np.bincount(y, minlength=count)
    common = (owned > 0) & (held > 0)
    if (owned[common] > 1).any() or (held[common] > 1).any():
        raise ProtocolError(f"{link.peer}: tags repeat, so that it is not certain which keys are common")
    return common[x], common[y]


def _groups(tags: Tags) -> tuple[npt.NDArray[np.int64], int]:
    """A number for each row, the same for rows that are the same, and how many numbers there are."""
    words = np.zeros((len(tags), -(-tags.shape[1] // 8)), np.uint64)
    words.view(np.uint8)[:, : tags.shape[1]] = tags
    order = np.lexsort(words.T)
    ordered = words[order]
    numbers = np.empty(len(tags), np.int64)
    numbers[order] = np.cumsum(np.concatenate([[False], (ordered[1:] != ordered[:-1]).any(axis=1)])[: len(tags)])
    return numbers, int(numbers.max(initial=-1)) + 1


def receive_verdict(link: Link, params: Params) -> psi_pb2.Verdict:
    """The receiver's last message; raises `ResultWithheld` if that is what it says."""
    verdict = link.channel.recv(psi_pb2.Verdict)
    if verdict.withheld:
        raise _withheld(params, "there are fewer")
    return verdict


def too_small(params: Params, size: int) -> ResultWithheld:
    """The error in which the receiver ends after it told the sender; only whether there are none is told apart."""
    return _withheld(params, "there are fewer" if size else "there are none")


def input_facts(link: Link, quality: "Quality") -> dict[str, int]:
    """The counts that every party is left with."""
    return {
        "own_rows": quality.rows,
        "own_distinct": quality.distinct,
        "peer_distinct": link.theirs,
        "nulls": quality.nulls,
    }


def _withheld(params: Params, reason: str) -> ResultWithheld:
    keys = "1 common key" if params.min_result == 1 else f"{params.min_result} common keys"
    return ResultWithheld(
        f"the result is withheld: it must have at least {keys}, and {reason}",
        hint="run psi.dry_run to see whether all parties' keys are well formed, or agree on another minimum",
    )


def _check_length(link: Link, what: str, got: int, due: int, index: int) -> None:
    if got != due:
        raise ProtocolError(f"{link.peer}: sent {got} bytes of {what} in chunk {index} where {due} were due")


def _blind(scalar: bytes, digests: bytes) -> bytes:  # the digests are bound to the session
    return multiply_each(scalar, hash_each_to_group(digests, _DIGEST_BYTES, _DOMAIN_GROUP))


def _double_blind(scalar: bytes, session: bytes, points: bytes) -> bytes:
    shared = multiply_each(scalar, points)
    start = blake2b(_DOMAIN_TAG, digest_size=FULL_TAG_BYTES, salt=session)
    tags = bytearray()
    for at in range(0, len(shared), POINT_BYTES):
        state = start.copy()
        state.update(shared[at : at + POINT_BYTES])
        tags += state.digest()
    return bytes(tags)
