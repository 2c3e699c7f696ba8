"""Pearson's correlation between the columns of all parties, two by two, for the rows that all have.

Rows are aligned first. Each party standardises its columns and rounds them to multiples of 2^-10 of a standard
deviation. Parties take turns, the first before the other receivers, each by name: it encrypts its rows under its own
Paillier key, several columns to a ciphertext; each party after it, and those that are no receivers, multiplies by its
own columns and adds up, re-randomises the sums and sends them; the one whose turn it is decrypts.

Output:   each receiver learns the correlation of each of its columns with each of the others', within 2·10^-3 divided
          by the root of the number of rows; of no pair that its own columns are not in. If all are receivers, each pair
          of columns of two parties is known to these two.
Leaks:    as `mpc.federated.alignment`. Who encrypts learns the correlations, so that the first must be a receiver; of
          two parties that are no receivers nothing is computed.
Security: semi-honest; that of the alignment, and of Paillier as `mpc.primitives.paillier` states for the agreed mode
          and length of key. A result over n rows that one party chose tells it as much as n numbers can: with as many
          columns as rows, a receiver could solve for the others' columns, so it brings at most a tenth as many.
Checks:   every ciphertext; that a correlation is at most 1.
Cost:     in each turn, to each party that multiplies, a ciphertext a row and 40 or so columns of the one that encrypts
          (with 2048 bits), back one for each of its columns and 40 of the other; a multiplication by a number of 14
          bits for each of the former and column of the party that multiplies.
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

    from mpc.channel import NamedChannel
    from mpc.primitives.paillier import Packing, PrivateKey

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

FIRST, SECOND = "first", "second"
_SCALE = 2**10  # units of a standard deviation
_ROWS_A_COLUMN = 10


def run(party: Party[CorrelationParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party, whatever its role; a receiver's table has one row a pair: column, party, other, correlation."""
    aligned, own = _prepare(party, tables)
    for name in party.job.receivers:
        _check_columns(name, _width(party.job, name), len(own))
    found: dict[str, F64] = {}
    for encrypting, others in _turns(party.job):
        if party.name == encrypting:
            found |= _encrypt(party, own, others)
        elif party.name in others:
            found |= _multiply(party, own, encrypting)
    return Outcome(_table(party, found) if party.name in party.job.receivers else None, aligned.facts)


def _turns(job: Job) -> list[tuple[str, list[str]]]:
    """Who encrypts, one after another, and who multiplies: each two parties of which one is a receiver meet once."""
    first = by_role(job, FIRST)
    receivers = [first, *sorted(set(job.receivers) - {first})]
    order = [*receivers, *sorted(set(job.members) - set(receivers))]
    turns = [(name, order[place + 1 :]) for place, name in enumerate(receivers)]
    return [(name, others) for name, others in turns if others]


def _width(job: Job, name: str) -> int:
    return len(job.members[name].columns["feature"])


def _encrypt(party: Party[CorrelationParams], own: I64, others: Sequence[str]) -> dict[str, F64]:
    """The party's turn: by other party the correlations, a row for each own column and a column for each of theirs."""
    from mpc.channel import NamedChannel
    from mpc.federated.ciphertexts import send_ciphertexts, send_key
    from mpc.primitives.paillier import Encryptor, PrivateKey

    params, links = party.params, [NamedChannel(peer, party.peers[peer]) for peer in others]
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
        theirs = _receive(link, private, blocks, (_width(party.job, link.peer), *own.shape))
        if link.peer in party.job.receivers:
            link.send(wire.Correlations(values=theirs.reshape(-1).tolist()))
        found[link.peer] = theirs.T
        party.progress("decrypt", done + 1, len(links))
    return found


def _receive(
    link: "NamedChannel", private: "PrivateKey", blocks: "Sequence[tuple[slice, Packing]]", shape: tuple[int, int, int]
) -> F64:
    """The correlations with another party's columns: `shape` is their number, the rows, and the own columns."""
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


def _multiply(party: Party[CorrelationParams], own: I64, encrypting: str) -> dict[str, F64]:
    """The party's part in another's turn: if it is a receiver, the correlations as `_encrypt` gives them."""
    from mpc.channel import NamedChannel
    from mpc.federated.ciphertexts import receive_ciphertexts, receive_key, send_ciphertexts
    from mpc.primitives.paillier import Encryptor, matrix_product

    params, theirs = party.params, _width(party.job, encrypting)
    link = NamedChannel(encrypting, party.peers[encrypting])
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
        return {}
    values, count = np.array(link.recv(wire.Correlations).values), own.shape[1] * theirs
    if values.shape != (count,) or not (np.abs(values) <= 1).all():
        raise ProtocolError(f"{encrypting}: sent {len(values)} numbers for {count} correlations, or others")
    return {encrypting: values.reshape(own.shape[1], theirs)}


def _check_columns(name: str, columns: int, rows: int) -> None:
    """All sides refuse so many columns of a receiver that it could solve for the others'."""
    if columns * _ROWS_A_COLUMN > rows:
        raise InputError(
            f"{columns} columns of {name}, a receiver, are too many for {rows} common rows",
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
    """Which columns of the party that encrypts go into one ciphertext, and how.

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


def _table(party: Party[CorrelationParams], found: Mapping[str, F64]) -> "pa.Table":
    """`found` has, by other party, a row for each own column and a column for each of theirs."""
    import pyarrow as pa

    columns = {name: member.columns["feature"] for name, member in party.job.members.items()}
    rows = [
        {"column": own, "party": name, "other": other, "correlation": float(found[name][i, j])}
        for name in sorted(found)
        for i, own in enumerate(columns[party.name])
        for j, other in enumerate(columns[name])
    ]
    text = pa.string()
    kinds = pa.schema([("column", text), ("party", text), ("other", text), ("correlation", pa.float64())])
    return pa.Table.from_pylist(rows, kinds)


def _check(job: Job, params: CorrelationParams) -> None:
    check_keys(job, Params(params.normalisation))
    check_bits(params.key_bits)
    first = by_role(job, FIRST)
    if first not in job.receivers:
        raise InputError(
            f"{first} has the role first and is not among the job's receivers",
            hint="name it as a receiver, or give the role first to a receiver: it always learns correlations",
        )


def _reveals(job: Job, _params: CorrelationParams) -> dict[str, str]:
    said = alignment.reveals(job, by_role(job, FIRST))
    for name in job.receivers:
        others = sorted(set(job.members) - {name})
        whose = others[0] if len(others) == 1 else "the others"
        said[name] += f"; the correlation of each of its columns with each of {whose}'s, over these rows"
    return said


_SECONDS_AT_THE_START = 1.0


def _estimate(job: Job, params: CorrelationParams, rows: Mapping[str, int], name: str) -> Estimate:
    aligned = alignment.estimate(job, by_role(job, FIRST), dict(rows), name)
    common, ciphertext_bytes = min(rows.values()), params.key_bits // 4
    seconds = sent = received = 0.0
    for encrypting, others in _turns(job):
        blocks = len(_blocks(_width(job, encrypting), common, params.key_bits))
        if name == encrypting:
            seconds += common * blocks * SECONDS_TO_ENCRYPT[params.encryption]
        elif name in others:
            seconds += common * blocks * (_width(job, name) * SECONDS_TO_MULTIPLY + SECONDS_TO_CHECK)
        for other in others if name == encrypting else {name}.intersection(others):
            pairs = _width(job, encrypting) * _width(job, other)
            down = common * blocks * ciphertext_bytes + 8 * pairs * (other in job.receivers) + 500
            up = _width(job, other) * blocks * ciphertext_bytes + 500
            sent, received = (sent + down, received + up) if name == encrypting else (sent + up, received + down)
    return Estimate(
        seconds=aligned.seconds + _SECONDS_AT_THE_START + seconds * ciphertext_work(params.key_bits),
        sent_bytes=aligned.sent_bytes + int(sent),
        received_bytes=aligned.received_bytes + int(received),
        peak_bytes=aligned.peak_bytes + int(common * CIPHERTEXT_BYTES * params.key_bits / 2048),
    )


_SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot("number or boolean", 1, MAX_COLUMNS, doc="columns of numbers without missing values"),
}

SPEC = Spec(
    name="feature.correlation",
    version=1,
    summary="Pearson's correlation between the columns of each two parties, over the rows that all have.",
    params=CorrelationParams,
    roles={FIRST: Role(run, _SLOTS), SECOND: Role(run, _SLOTS, most=alignment.MOST_PARTIES - 1)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    check=_check,
)
