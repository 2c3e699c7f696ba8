"""Weight of evidence (WOE) and information value (IV) of several parties' columns against one party's labels.

Rows are aligned first. The label holder encrypts its labels, 0 and 1, under its own Paillier key; each feature holder
adds them up in each bin of its columns and sends the sums, packed and re-randomised, and how many rows are in each bin.
The label holder decrypts, and tells the feature holder the sums of its own bins.

WOE of a bin: ln of its share of the rows with label 1 over its share of those with label 0 (half a row for none).
IV of a column: the sum over bins of the difference of the two shares times WOE.

Output:   each party's own part of a model of kind "woe": its columns' bins with their WOE, for scorecards. As a
          receiver a feature holder learns this of its own columns as a table, the label holder of all parties' columns,
          others' bins by number.
Leaks:    as `mpc.federated.alignment`. The label holder learns of each feature holder's column how many rows are in
          each bin and how many of them have label 1, not where the bins' edges are; a feature holder learns of its
          own bins how many rows have label 1, and how many have it in all. Bins have at least `min_bin_rows` rows: the
          label holder checks that as far as it is told. A feature holder that puts rows into bins otherwise than it
          says learns how many of other rows have label 1.
Security: semi-honest; that of the alignment, and of Paillier as `mpc.primitives.paillier` states for the agreed mode
          and length of key.
Checks:   every ciphertext; that the rows and the labels in a column's bins add up to all.
Cost:     a ciphertext a row to each feature holder, and about one to 100 bins back.
Source:   Siddiqi, Credit Risk Scorecards, 2006, chapter 6, for WOE and IV.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.declarations import (
    CIPHERTEXT_BYTES,
    FEATURE_SLOTS,
    SECONDS_TO_ADD,
    SECONDS_TO_CHECK,
    SECONDS_TO_ENCRYPT,
    check_features,
    ciphertext_work,
    feature_names,
)
from mpc.federated.features_params import WoeParams
from mpc.job import Job
from mpc.primitives.paillier.keys import check_bits
from mpc.psi.params import Params, by_role, check_keys
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_features_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.channel import NamedChannel
    from mpc.federated.columns import Column
    from mpc.federated.features_local import Grouped
    from mpc.primitives.paillier import Packing, PrivateKey

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def lead(party: Party[WoeParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The label holder's part: its own columns' evidence as a model, all parties' as a table."""
    from mpc.channel import NamedChannel
    from mpc.federated.ciphertexts import send_ciphertexts, send_key
    from mpc.federated.columns import complete, read_columns, read_numbers
    from mpc.primitives.paillier import Encryptor, PrivateKey

    params, columns = party.params, read_columns(tables)
    (name,) = tables["label"].column_names
    every = read_numbers(tables["label"], name)
    aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
    labels = _binary(name, complete(every, name, aligned.rows))
    own = _grouped(columns, aligned, params)
    private = PrivateKey.generate(party.rng, params.key_bits)
    packing = _packing(len(labels))
    words = packing.pack(labels[:, None], private.public)
    ciphertexts = Encryptor(private, party.rng, params.encryption).encrypt(words)
    links = [NamedChannel(peer, party.peers[peer]) for peer in sorted(party.peers)]
    for link in links:
        send_key(link, private.public)
        send_ciphertexts(link, ciphertexts)
    found = _own_counts(own, [column.take(aligned.rows) for column in columns], labels)
    rows = _table_rows(party.name, [g.bins.name for g in own], [g.names() for g in own], found, labels)
    for done, link in enumerate(links):
        columns_of = feature_names(party.job, link.peer)
        theirs = _receive_counts(link, private, packing, len(columns_of), labels, params)
        link.channel.send(_events(theirs, labels))
        numbers = [[str(i + 1) for i in range(len(counts))] for counts, _ in theirs]
        rows += _table_rows(link.peer, columns_of, numbers, theirs, labels)
        party.progress("feature holder", done + 1, len(links))
    return _outcome(party, aligned, own, found, int(labels.sum()), rows, name)


def follow(party: Party[WoeParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A feature holder's part: its own columns' evidence, as a model and as a table."""
    from mpc.channel import NamedChannel
    from mpc.federated.ciphertexts import receive_ciphertexts, receive_key, send_ciphertexts
    from mpc.federated.columns import read_columns
    from mpc.primitives.paillier import Encryptor, shift_and_pack, sum_by_index

    params, columns = party.params, read_columns(tables)
    aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
    own = _grouped(columns, aligned, params)
    leader = by_role(party.job, LABEL_HOLDER)
    link = NamedChannel(leader, party.peers[leader])
    public = receive_key(link, params.key_bits)
    labels = receive_ciphertexts(link, public, len(aligned.rows))
    groups = [g.encode(column.take(aligned.rows)) for g, column in zip(own, columns, strict=True)]
    width, packing = max(g.groups for g in own), _packing(len(aligned.rows))
    sums = sum_by_index(labels, np.stack(groups, axis=1).astype(np.uint16), width)
    used = np.concatenate([place * width + np.arange(g.groups) for place, g in enumerate(own)])
    packed = shift_and_pack(sums[used], packing.bits, packing.per_plaintext(public))
    link.send(wire.Bins(columns=[wire.Column(rows=g.rows.tolist()) for g in own]))
    send_ciphertexts(link, Encryptor(public, party.rng, params.encryption).rerandomise(packed))
    found, total = _receive_events(link, own, len(aligned.rows))
    all_labels = np.zeros(len(aligned.rows), np.int64)
    all_labels[:total] = 1
    rows = _table_rows(party.name, [g.bins.name for g in own], [g.names() for g in own], found, all_labels)
    return _outcome(party, aligned, own, found, total, rows, "")


Counts = list[tuple[I64, I64]]  # by column, rows and rows with label 1 by bin


def _binary(name: str, labels: F64) -> I64:
    values = np.unique(labels)
    if not np.isin(values, [0.0, 1.0]).all():
        raise InputError(f"label column {name!r} has other values than 0 and 1 in the common rows")
    if len(values) < 2:
        raise InputError(f"label column {name!r} has the same value in all common rows")
    return labels.astype(np.int64)


def _grouped(columns: "Sequence[Column]", aligned: alignment.Alignment, params: WoeParams) -> "list[Grouped]":
    from mpc.federated.features_local import group_bins

    return [group_bins(column.take(aligned.rows), params.bins, params.min_bin_rows) for column in columns]


def _packing(rows: int) -> "Packing":
    from mpc.primitives.paillier import Packing

    return Packing(slots=1, max_abs=1, additions=max(rows, 1))


def _own_counts(own: "Sequence[Grouped]", columns: "Sequence[Column]", labels: I64) -> Counts:
    counts = []
    for grouped, column in zip(own, columns, strict=True):
        events = np.bincount(grouped.encode(column), weights=labels, minlength=grouped.groups)
        counts.append((grouped.rows, events.astype(np.int64)))
    return counts


def _receive_counts(
    link: "NamedChannel",
    private: "PrivateKey",
    packing: "Packing",
    columns: int,
    labels: I64,
    params: WoeParams,
) -> Counts:
    """A feature holder's counts by bin, checked as far as totals tell."""
    from mpc.federated.ciphertexts import receive_ciphertexts
    from mpc.primitives.paillier import decrypt

    said = [np.array(column.rows, np.int64) for column in link.recv(wire.Bins).columns]
    if len(said) != columns:
        raise ProtocolError(f"{link.peer}: sent bins of {len(said)} columns, not of {columns}")
    for rows in said:
        if not 2 <= len(rows) <= params.bins + 1 or rows.sum() != len(labels) or rows.min() < params.min_bin_rows:
            raise ProtocolError(f"{link.peer}: sent bins that are too many or too small, or not of all rows")
    total, per = sum(len(rows) for rows in said), packing.per_plaintext(private.public)
    words = decrypt(private, receive_ciphertexts(link, private.public, -(-total // per)))
    try:
        events = packing.unpack(words, private.public, per).reshape(-1)[:total]
    except InputError:
        raise ProtocolError(f"{link.peer}: sent a ciphertext of more than packed sums") from None
    counts = list(zip(said, np.split(events, np.cumsum([len(rows) for rows in said])[:-1]), strict=True))
    for rows, found in counts:
        if found.min() < 0 or (found > rows).any() or found.sum() != labels.sum():
            raise ProtocolError(f"{link.peer}: sent sums of labels that no bins of all rows have")
    return counts


def _events(counts: Counts, labels: I64) -> wire.Events:
    return wire.Events(total=int(labels.sum()), bins=np.concatenate([events for _, events in counts]).tolist())


def _receive_events(link: "NamedChannel", own: "Sequence[Grouped]", rows: int) -> tuple[Counts, int]:
    message = link.recv(wire.Events)
    every, sizes = np.array(message.bins, np.int64), [g.groups for g in own]
    if len(every) != sum(sizes) or not 0 < message.total < rows:
        raise ProtocolError(f"{link.peer}: sent {len(every)} counts of {sum(sizes)} bins, or labels of one value")
    counts = list(zip([g.rows for g in own], np.split(every, np.cumsum(sizes)[:-1]), strict=True))
    if any((events > mine).any() or events.sum() != message.total for mine, events in counts):
        raise ProtocolError(f"{link.peer}: sent counts of labels that these bins cannot have")
    return counts, message.total


def _table_rows(
    party: str, columns: Sequence[str], names: Sequence[Sequence[str]], counts: Counts, labels: I64
) -> list[dict[str, object]]:
    from mpc.federated.features_local import weight_of_evidence

    found: list[dict[str, object]] = []
    for column, bins, (rows, events) in zip(columns, names, counts, strict=True):
        woe, value = weight_of_evidence(rows, events, len(labels), int(labels.sum()))
        for bin_name, some, ones, weight in zip(bins, rows.tolist(), events.tolist(), woe.tolist(), strict=True):
            row = {"party": party, "column": column, "bin": bin_name, "rows": some, "events": ones}
            found.append({**row, "woe": weight, "information_value": value})
    return found


def _outcome(
    party: Party[WoeParams],
    aligned: alignment.Alignment,
    own: "Sequence[Grouped]",
    counts: Counts,
    total: int,
    rows: list[dict[str, object]],
    label: str,
) -> Outcome:
    import pyarrow as pa

    from mpc.federated.features_local import WOE_KIND, WOE_VERSION, Evidence, evidence_as_model, weight_of_evidence
    from mpc.federated.model import Feature, Model

    evidence = []
    for grouped, (some, events) in zip(own, counts, strict=True):
        woe, value = weight_of_evidence(some, events, len(aligned.rows), total)
        evidence.append(Evidence(grouped.bins, woe[grouped.group_of_bin], value))
    content, arrays = evidence_as_model(evidence)
    model = Model.of_training(
        party,
        WOE_KIND,
        WOE_VERSION,
        features=tuple(Feature(each.bins.name, each.bins.kind, each.information_value) for each in evidence),
        label=label,
        sizes={"rows": len(aligned.rows), "events": total},
        revealed=_reveals(party.job, party.params),
        content=content,
        arrays=arrays,
    )
    schema = pa.schema(
        [(name, pa.string()) for name in ("party", "column", "bin")]
        + [("rows", pa.int64()), ("events", pa.int64()), ("woe", pa.float64()), ("information_value", pa.float64())]
    )
    table = pa.Table.from_pylist(rows, schema) if party.name in party.job.receivers else None
    return Outcome(table, aligned.facts, model=model.to_bytes())


def _check(job: Job, params: WoeParams) -> None:
    check_keys(job, Params(params.normalisation))
    check_bits(params.key_bits)
    check_features(job)


def _reveals(job: Job, _params: WoeParams) -> dict[str, str]:
    leader = by_role(job, LABEL_HOLDER)
    said = alignment.reveals(job, leader)
    for name in said:
        if name == leader:
            said[name] += (
                "; of each bin of the others' columns, how many rows are in it and how many of them have label 1, not "
                "where it begins and ends"
            )
        else:
            said[name] += "; how many rows have label 1, in each bin of its own columns and in all"
    return said


_SECONDS_A_SUM = 100e-6  # as those in `mpc.federated.declarations`
_SECONDS_AT_THE_START = 1.0


def _estimate(job: Job, params: WoeParams, rows: Mapping[str, int], name: str) -> Estimate:
    leader = by_role(job, LABEL_HOLDER)
    aligned = alignment.estimate(job, leader, dict(rows), name)
    common, width = min(rows.values()), params.key_bits / 2048
    holders = sorted(set(job.members) - {leader}) if name == leader else [name]
    per = max(1, (params.key_bits - 2) // (common.bit_length() + 1))
    sums = {holder: len(feature_names(job, holder)) * params.bins for holder in holders}
    down = common * params.key_bits // 4 * len(holders)
    up = sum(-(-each // per) * params.key_bits // 4 + 4 * each for each in sums.values())
    if name == leader:
        seconds = common * SECONDS_TO_ENCRYPT[params.encryption]
    else:
        additions = common * len(feature_names(job, name))
        seconds = additions * SECONDS_TO_ADD + common * SECONDS_TO_CHECK + sums[name] * _SECONDS_A_SUM
    sent, received = (down, up) if name == leader else (up, down)
    return Estimate(
        seconds=aligned.seconds + _SECONDS_AT_THE_START + seconds * ciphertext_work(params.key_bits),
        sent_bytes=aligned.sent_bytes + sent + 500,
        received_bytes=aligned.received_bytes + received + 500,
        peak_bytes=aligned.peak_bytes + int(common * CIPHERTEXT_BYTES * width),
    )


SPEC = Spec(
    name="feature.woe",
    version=1,
    summary="Weight of evidence and information value of several parties' columns against one party's labels.",
    params=WoeParams,
    roles={
        LABEL_HOLDER: Role(lead, FEATURE_SLOTS | {"label": Slot("number or boolean", 1, 1, doc="0 or 1")}),
        FEATURE_HOLDER: Role(follow, FEATURE_SLOTS, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    check=_check,
)
