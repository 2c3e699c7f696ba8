"""Pearson's correlation between the columns of one party and those of others, for the rows that all have.

Rows are aligned first. Each party standardises its columns and rounds them to multiples of 2^-10 of a standard
deviation. The first encrypts its rows under its own Paillier key, several columns to a ciphertext; each second party
multiplies by its own columns and adds up, re-randomises the sums and sends them; the first decrypts.

Output:   the first learns the correlation of each of its columns with each of the others', a second party that is a
          receiver that of each of its own columns with each of the first's, within 2·10^-3 divided by the root of the
          number of rows. Columns of two second parties are not compared: one of them is the first of a job of its own,
          so that m parties need m - 1 jobs for all pairs, each with those that have not been first. A party thus learns
          of no pair that its own columns are not in.
Leaks:    as `mpc.federated.alignment`. The first learns the correlations, so it must be a receiver.
Security: semi-honest; that of the alignment, and of Paillier as `mpc.primitives.paillier` states for the agreed mode
          and length of key. A result over n rows that one party chose tells it as much as n numbers can: with as many
          columns as rows, the first could solve for the other's columns, so it brings at most a tenth as many.
Checks:   every ciphertext; that a correlation is at most 1.
Cost:     to each second party a ciphertext a row and 40 or so columns of the first (with 2048 bits), back one for each
          of its columns and 40 of the first; a multiplication by a number of 14 bits for each of the former and column
          of the second party.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.declarations import (
    CIPHERTEXT_BYTES,
    KEY_SLOT,
    SECONDS_TO_CHECK,
    SECONDS_TO_ENCRYPT,
    SECONDS_TO_MULTIPLY,
    ciphertext_work,
)
from mpc.federated.features_params import CorrelationParams
from mpc.federated.trees_params import MAX_COLUMNS
from mpc.job import Job
from mpc.primitives.paillier.keys import check_bits
from mpc.psi.params import Params, by_role, check_keys
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_features_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.primitives.paillier import Packing, PrivateKey
    from mpc.psi.multi_steps import NamedChannel

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

FIRST, SECOND = "first", "second"
_SCALE = 2**10  # units of a standard deviation
_ROWS_A_COLUMN = 10


def encrypting(party: Party[CorrelationParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The first party's part: one row a pair of columns: first, party (whose the other is), second, correlation."""
    from mpc.federated.ciphertexts import send_ciphertexts, send_key
    from mpc.primitives.paillier import Encryptor, PrivateKey
    from mpc.psi.multi_steps import NamedChannel

    params, (aligned, own) = party.params, _prepare(party, tables)
    _check_columns(party.name, own.shape[1], len(own))
    links = [NamedChannel(peer, party.peers[peer]) for peer in _seconds(party.job)]
    private = PrivateKey.generate(party.rng, params.key_bits)
    for link in links:
        send_key(link, private.public)
    encryptor = Encryptor(private, party.rng, params.encryption)
    blocks = _blocks(own.shape[1], len(own), params.key_bits)
    for block, packing in blocks:
        ciphertexts = encryptor.encrypt(packing.pack(own[:, block], private.public))
        for link in links:
            send_ciphertexts(link, ciphertexts)
    found = {}
    for done, link in enumerate(links):
        columns = len(party.job.members[link.peer].columns["feature"])
        found[link.peer] = _receive(link, private, blocks, (columns, *own.shape))
        if link.peer in party.job.receivers:
            link.send(wire.Correlations(values=found[link.peer].reshape(-1).tolist()))
        party.progress("decrypt", done + 1, len(links))
    return Outcome(_table(party.job, found), aligned.facts)


def _receive(
    link: "NamedChannel", private: "PrivateKey", blocks: "Sequence[tuple[slice, Packing]]", shape: tuple[int, int, int]
) -> F64:
    """The correlations with a second party's columns: `shape` is their number, the rows, and the own columns."""
    from mpc.federated.ciphertexts import receive_ciphertexts
    from mpc.primitives.paillier import decrypt

    theirs, rows, ours = shape
    found = np.empty((theirs, ours))
    for block, packing in blocks:
        words = decrypt(private, receive_ciphertexts(link, private.public, theirs))
        try:
            found[:, block] = packing.unpack(words, private.public) / (_SCALE**2 * rows)
        except InputError:
            raise ProtocolError(f"{link.peer}: sent a ciphertext of more than packed sums") from None
    if np.abs(found).max() > 1 + 1e-3:
        raise ProtocolError(f"{link.peer}: sent sums that are no correlations")
    return np.asarray(np.clip(found, -1, 1))


def multiplying(party: Party[CorrelationParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A second party's part: the table's rows of its own columns if it is a receiver."""
    from mpc.federated.ciphertexts import receive_ciphertexts, receive_key, send_ciphertexts
    from mpc.primitives.paillier import Encryptor, matrix_product
    from mpc.psi.multi_steps import NamedChannel

    params, (aligned, own) = party.params, _prepare(party, tables)
    peer = by_role(party.job, FIRST)
    theirs = len(party.job.members[peer].columns["feature"])
    _check_columns(peer, theirs, len(own))
    link = NamedChannel(peer, party.peers[peer])
    public = receive_key(link, params.key_bits)
    encryptor = Encryptor(public, party.rng, params.encryption)
    sums = []
    for done, (_block, _packing) in enumerate(blocks := _blocks(theirs, len(own), params.key_bits)):
        ciphertexts = receive_ciphertexts(link, public, len(own))
        sums.append(encryptor.rerandomise(matrix_product(own, ciphertexts)))
        party.progress("multiply", done + 1, len(blocks))
    for each in sums:
        send_ciphertexts(link, each)
    if party.name not in party.job.receivers:
        return Outcome(None, aligned.facts)
    values = np.array(link.recv(wire.Correlations).values)
    if values.shape != (own.shape[1] * theirs,) or not (np.abs(values) <= 1).all():
        raise ProtocolError(f"{peer}: sent {len(values)} numbers for {own.shape[1] * theirs} correlations, or others")
    return Outcome(_table(party.job, {party.name: values.reshape(own.shape[1], theirs)}), aligned.facts)


def _check_columns(first: str, columns: int, rows: int) -> None:
    """Both sides refuse so many columns of the first that it could solve for the second's."""
    if columns * _ROWS_A_COLUMN > rows:
        raise InputError(
            f"{columns} columns of {first}, in the role first, are too many for {rows} common rows",
            hint=f"there must be {_ROWS_A_COLUMN} common rows for each of its columns",
        )


def _prepare(party: Party[CorrelationParams], tables: "Mapping[str, pa.Table]") -> tuple[alignment.Alignment, I64]:
    """The common rows, and the party's standardised columns there in units of 1 / _SCALE."""
    from mpc.federated.columns import read_columns
    from mpc.federated.features_local import standardise

    columns = read_columns(tables)
    aligned = alignment.align(party, tables["key"], FIRST)
    scaled = [np.rint(_SCALE * standardise(column.take(aligned.rows))).astype(np.int64) for column in columns]
    return aligned, np.stack(scaled, axis=1)


def _blocks(columns: int, rows: int, key_bits: int) -> "list[tuple[slice, Packing]]":
    """Which columns of the first party go into one ciphertext, and how.

    No standardised value exceeds the root of the number of rows, and by Cauchy and Schwarz no sum of products the
    number of rows; rounding adds less than a thousandth to either.
    """
    from mpc.primitives.paillier import Packing

    largest = int(1.001 * _SCALE * math.isqrt(rows)) + _SCALE
    slot_bits = Packing(1, largest, largest).slot_bits
    most = (key_bits - 2) // slot_bits
    blocks = []
    for at in range(0, columns, most):
        block = slice(at, min(at + most, columns))
        blocks.append((block, Packing(block.stop - block.start, largest, largest)))
    return blocks


def _table(job: Job, found: Mapping[str, F64]) -> "pa.Table":
    """`found` has for some second parties an array of a row for each of their columns."""
    import pyarrow as pa

    rows = [
        {"first": a, "party": name, "second": b, "correlation": float(values[j, i])}
        for name, values in found.items()
        for i, a in enumerate(job.members[by_role(job, FIRST)].columns["feature"])
        for j, b in enumerate(job.members[name].columns["feature"])
    ]
    text = pa.string()
    kinds = pa.schema([("first", text), ("party", text), ("second", text), ("correlation", pa.float64())])
    return pa.Table.from_pylist(rows, kinds)


def _seconds(job: Job) -> list[str]:
    return sorted(name for name, member in job.members.items() if member.role == SECOND)


def _check(job: Job, params: CorrelationParams) -> None:
    check_keys(job, Params(params.normalisation))
    check_bits(params.key_bits)
    first = by_role(job, FIRST)
    if first not in job.receivers:
        raise InputError(
            f"{first} has the role first and is not among the job's receivers",
            hint="name it as a receiver, or swap roles: the role first always learns the correlations",
        )


def _reveals(job: Job, _params: CorrelationParams) -> dict[str, str]:
    first = by_role(job, FIRST)
    said = alignment.reveals(job, first)
    others = _seconds(job)
    for name in job.receivers:
        whose = first if name != first else others[0] if len(others) == 1 else "the others"
        said[name] += f"; the correlation of each of its columns with each of {whose}'s, over these rows"
    return said


_SECONDS_AT_THE_START = 1.0


def _estimate(job: Job, params: CorrelationParams, rows: Mapping[str, int], name: str) -> Estimate:
    first = by_role(job, FIRST)
    aligned = alignment.estimate(job, first, dict(rows), name)
    common, width = min(rows.values()), params.key_bits / 2048
    ours = len(job.members[first].columns["feature"])
    blocks, ciphertext_bytes = len(_blocks(ours, common, params.key_bits)), params.key_bits // 4
    down = up = 0
    for second in _seconds(job) if name == first else [name]:
        theirs = len(job.members[second].columns["feature"])
        down += common * blocks * ciphertext_bytes + 8 * ours * theirs * (second in job.receivers) + 500
        up += theirs * blocks * ciphertext_bytes + 500
    if name == first:
        seconds = common * blocks * SECONDS_TO_ENCRYPT[params.encryption]
    else:
        theirs = len(job.members[name].columns["feature"])
        seconds = common * blocks * (theirs * SECONDS_TO_MULTIPLY + SECONDS_TO_CHECK)
    sent, received = (down, up) if name == first else (up, down)
    return Estimate(
        seconds=aligned.seconds + _SECONDS_AT_THE_START + seconds * ciphertext_work(params.key_bits),
        sent_bytes=aligned.sent_bytes + sent,
        received_bytes=aligned.received_bytes + received,
        peak_bytes=aligned.peak_bytes + int(common * CIPHERTEXT_BYTES * width),
    )


_SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot("number or boolean", 1, MAX_COLUMNS, doc="columns of numbers without missing values"),
}

SPEC = Spec(
    name="feature.correlation",
    version=1,
    summary="Pearson's correlation between the columns of one party and those of others, over the rows that all have.",
    params=CorrelationParams,
    roles={FIRST: Role(encrypting, _SLOTS), SECOND: Role(multiplying, _SLOTS, most=alignment.MOST_PARTIES - 1)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    check=_check,
)
