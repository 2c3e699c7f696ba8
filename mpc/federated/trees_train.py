"""Gradient-boosted trees over columns that different parties hold (SecureBoost): one has labels, others have features.

All rows are aligned first. For each tree the label holder encrypts the first and second derivatives of its loss under
its own Paillier key. Each feature holder adds up those of the rows that each of its candidate splits would send left,
re-randomises the sums and sends them, packed; the label holder decrypts, finds the best split of each node among all
parties' candidates, and the party whose split it is says which rows go left. The trees are those of the algorithm in
`mpc.federated.trees_grow`, exactly: sums of integers do not depend on who forms them.

Output:   each party's own part of the model: the label holder's has the trees (who decides at a node, weights of
          leaves) and its own splits; a feature holder's has its own splits. As a receiver the label holder learns
          how good the model is after each round, a feature holder how many splits use each of its columns.
Leaks:    as `mpc.federated.alignment`. The label holder sees, for each node that is judged, the sums of derivatives
          over the rows that each candidate of a feature holder sends left, and which rows go left by the splits that
          are made. It knows every row's derivatives, so in small nodes it can find out which rows a candidate
          separates, that is, the order of rows in a column; which column that is, and any number in it, it is not
          told. `shuffle` hides which candidates belong to one column and in which order they come, though not from
          somebody who looks for nested sums; `min_bin_rows` and `min_node_rows` keep single rows out of bins and
          small nodes out of sums, at the start of each tree better than deep in it.
          With `private_split` it sees no sums: only, for each node, whose the best split is, and then which rows go
          left by it: see `mpc.federated.trees_private`.
          A feature holder sees which rows are in each node that is judged, and which of its own splits are best.
          Rows that end in one deep node tend to have one label: labels can be inferred that way, the better the
          model the better (arxiv.org/abs/2307.10318). `local_trees` leave it only what the first trees could not
          explain. With GOSS it also sees which rows have large derivatives, and with `share_gains` what its own
          splits gained.
Security: semi-honest; that of the alignment, and of Paillier as `mpc.primitives.paillier` states for the agreed mode
          and length of key. A feature holder that sends false sums spoils the model; false rows for a split are
          noticed, as their sums must be those that it sent.
Checks:   every ciphertext and bitmap; sums against the bounds that the rows allow; splits against sums.
Cost:     to each feature holder a ciphertext, of twice the key's bits, for each row and tree; back from it one for
          every 25 or so candidates (with 2048 bits) of each node that is measured; four messages a level.
Source:   Cheng et al., IEEE Intelligent Systems 2021, doi.org/10.1109/MIS.2021.3082561; packing and subtraction:
          Chen et al., SecureBoost+, arxiv.org/abs/2110.10927.
"""

import math
import operator
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mpc.errors import InputError
from mpc.federated import alignment
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.declarations import (
    CIPHERTEXT_BYTES,
    FEATURE_SLOTS,
    SECONDS_TO_ADD,
    SECONDS_TO_CHECK,
    SECONDS_TO_DECRYPT,
    SECONDS_TO_ENCRYPT,
    check_features,
    ciphertext_work,
    feature_names,
)
from mpc.federated.trees_params import MODEL_KIND, MODEL_VERSION, TreesParams
from mpc.job import Job
from mpc.primitives.paillier.keys import check_bits
from mpc.psi.params import Params, by_role, check_keys
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.model import Feature, Model
    from mpc.federated.trees_boost import Fitted
    from mpc.federated.trees_columns import LocalSide, OwnColumns
    from mpc.federated.trees_forest import Rules
    from mpc.federated.trees_grow import Judge
    from mpc.federated.trees_label_side import Group
    from mpc.federated.trees_objective import Target


def lead(party: Party[TreesParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The label holder's part: trees, and one row a round: loss, and for binary labels AUC, in and out of training."""
    from mpc.federated.columns import complete, read_columns, read_numbers
    from mpc.federated.trees_boost import boost, gains_by_side, training_rows
    from mpc.federated.trees_columns import LocalSide, OwnColumns
    from mpc.federated.trees_grow import OpenJudge
    from mpc.federated.trees_label_side import Group
    from mpc.federated.trees_objective import read_target

    params, columns = party.params, read_columns(tables)
    (name,) = tables["label"].column_names
    every = read_numbers(tables["label"], name)
    aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
    labels = complete(every, name, aligned.rows)
    fitted = training_rows(params, len(labels))
    target, labels = read_target(params, name, labels, fitted)
    own = OwnColumns.make(party.name, [column.take(aligned.rows) for column in columns], params) if columns else None
    local = [] if own is None else [LocalSide(own)]
    group = Group(party, len(labels))
    peers = list(group.links)
    judge = _judge(party, group, local, len(labels))
    count = len(local) + len(peers)
    found = boost(labels, target, params, judge, OpenJudge(local, params), count, partial(party.progress, "round"))
    owners = ([] if own is None else [party.name]) + peers
    gains = dict(zip(owners, gains_by_side(found.forest, len(owners)).values(), strict=True))
    group.finish(len(found.forest.trees), {peer: gains[peer] for peer in peers} if params.share_gains else {})
    sizes = {"rows": len(labels), "training_rows": int(fitted.sum()), "trees": len(found.forest.trees)}
    model = _label_part(party, name, own, target, found, owners, gains, sizes)
    facts = {**aligned.facts, "trees": len(found.forest.trees), "rounds": len(found.rounds)}
    return Outcome(_rounds(found) if party.name in party.job.receivers else None, facts, model=model.to_bytes())


def follow(party: Party[TreesParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A feature holder's part: its splits, and one row a column: how many splits use it and, if shared, their gain."""
    import pyarrow as pa

    from mpc.federated.columns import read_columns
    from mpc.federated.trees_columns import OwnColumns, importance
    from mpc.federated.trees_feature_side import FeatureSide, OpenChooser
    from mpc.federated.trees_forest import rules_as_model
    from mpc.federated.trees_private import PrivateChooser

    columns = read_columns(tables)
    aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
    own = OwnColumns.make(party.name, [column.take(aligned.rows) for column in columns], party.params)
    chooser = PrivateChooser if party.params.private_split else OpenChooser
    ended = FeatureSide(party, by_role(party.job, LABEL_HOLDER), own, len(aligned.rows), chooser).serve()
    rules = own.rules().first_of_trees(ended.kept)
    content, arrays = rules_as_model(rules)
    rows = importance(rules, ended.gains, [column.name for column in columns])
    sizes = {"rows": len(aligned.rows), "trees": ended.kept, "own_splits": len(rules)}
    model = _part(party, _features(own, rules, ended.gains), sizes=sizes, content=content, arrays=arrays)
    table = pa.Table.from_pylist(rows) if party.name in party.job.receivers else None
    facts = {**aligned.facts, "trees": ended.kept, "own_splits": len(rules)}
    return Outcome(table, facts, model=model.to_bytes())


def _judge(party: Party[TreesParams], group: "Group", local: "list[LocalSide]", rows: int) -> "Judge":
    from mpc.federated.trees_grow import OpenJudge
    from mpc.federated.trees_label_side import RemoteSide
    from mpc.federated.trees_private import PrivateJudge

    if party.params.private_split:
        return PrivateJudge(party, group, local[0] if local else None, rows)
    remote = [RemoteSide(group, peer, len(local) + i, rows) for i, peer in enumerate(group.links)]
    return OpenJudge([*local, *remote], party.params)


def _rounds(found: "Fitted") -> "pa.Table":
    import pyarrow as pa

    real, names = pa.float64(), ("training_loss", "validation_loss", "training_auc", "validation_auc")
    columns = {"round": pa.array([each.round for each in found.rounds], pa.int64())}
    for name in names:
        columns[name] = pa.array([getattr(each, name) for each in found.rounds], real)
    columns["kept"] = pa.array([each.round <= found.kept_rounds for each in found.rounds], pa.bool_())
    return pa.table(columns)


def _label_part(
    party: Party[TreesParams],
    label: str,
    own: "OwnColumns | None",
    target: "Target",
    found: "Fitted",
    owners: list[str],
    gains: Mapping[str, list[float]],
    sizes: Mapping[str, int],
) -> "Model":
    from mpc.federated.trees_forest import rules_as_model, rules_of

    rules = own.rules().first_of_trees(len(found.forest.trees)) if own else rules_of([], [])
    content, arrays = rules_as_model(rules)
    last = found.rounds[found.kept_rounds - 1]
    names = ("training_loss", "validation_loss", "training_auc", "validation_auc")
    metrics = {name: getattr(last, name) for name in names if getattr(last, name) is not None}
    by_party = {f"gain of {owner}": float(sum(each)) for owner, each in gains.items()}
    return _part(
        party,
        _features(own, rules, tuple(gains.get(party.name, ()))) if own else (),
        label=label,
        sizes=sizes,
        metrics={**metrics, **by_party},
        content={**content, "owners": owners, "classes": list(target.classes)},
        arrays={**arrays, **found.forest.arrays()},
    )


def _features(own: "OwnColumns", rules: "Rules", gains: tuple[float, ...] | None) -> "tuple[Feature, ...]":
    """With the gain as importance, or the number of splits if gains are not known."""
    from mpc.federated.model import Feature
    from mpc.federated.trees_columns import importance

    rows = importance(rules, gains, [bins.name for bins in own.bins])
    weigh = "splits" if gains is None else "gain"
    return tuple(Feature(bins.name, bins.kind, row[weigh]) for bins, row in zip(own.bins, rows, strict=True))


def _part(party: Party[TreesParams], features: "tuple[Feature, ...]", **rest: Any) -> "Model":
    from mpc.federated.model import Model

    revealed = _reveals(party.job, party.params)
    return Model.of_training(party, MODEL_KIND, MODEL_VERSION, features=features, revealed=revealed, **rest)


def _reveals(job: Job, params: TreesParams) -> dict[str, str]:
    leader = by_role(job, LABEL_HOLDER)
    said = alignment.reveals(job, leader)
    sums = (
        "which party has the best split"
        if params.private_split
        else "the sums of its own gradients over the rows that each of the feature holders' candidate splits sends "
        "left, from which in small nodes it can find the rows"
    )
    for name in said:
        if name == leader:
            said[name] += (
                f"; the trees; for each node that is judged, {sums}; and which rows go left by the splits that are "
                "made; not by which column or at which value"
            )
            continue
        said[name] += (
            "; in each tree, which rows are in the nodes that are judged, which suggests which rows have like labels; "
            "and which of its own splits are in the model"
        )
        if params.goss:
            said[name] += "; for each tree, which rows have the largest gradients, mixed with random ones"
        if params.share_gains:
            said[name] += "; what its own splits gain"
    return said


_SECONDS_TO_PACK = 1e-3  # as those in `mpc.federated.declarations`
# If splits are found on shares, with each feature holder, either way: at the start, a level, a candidate in a node.
_SECONDS_ON_SHARES = (0.3, 0.1, 0.4e-3)
_BYTES_ON_SHARES = (800_000, 165_000, 2_700)
_SECONDS_AT_THE_START = 1.5


def _estimate(job: Job, params: TreesParams, rows: Mapping[str, int], name: str) -> Estimate:
    leader = by_role(job, LABEL_HOLDER)
    aligned = alignment.estimate(job, leader, dict(rows), name)
    common, width = min(rows.values()), params.key_bits / 2048
    counted = common * (1 - params.validation)
    counted *= params.goss_top + params.goss_rest if params.goss else params.row_sample
    trees = (params.trees - params.local_trees) * params.outputs
    per = max(1, (params.key_bits - 2) // (160 if params.private_split else 2 * (22 + max(common, 1).bit_length())))
    measured = 1 + sum(2**level / 2 for level in range(1, params.depth))
    holders = sorted(set(job.members) - {leader}) if name == leader else [name]
    sent_back = 0.0
    for holder in holders:
        columns = params.column_sample * _columns(job, holder)
        sent_back += trees * math.ceil(measured * columns * params.bins / per)
    ciphertext_bytes = params.key_bits // 4
    down, up = counted * trees * ciphertext_bytes * len(holders), sent_back * ciphertext_bytes
    nodes = trees * (2**params.depth) * (common / 8 + 100) * len(holders)
    shared_seconds, shared_bytes = 0.0, 0.0
    if params.private_split:
        columns = params.column_sample * sum(_columns(job, holder) for holder in holders)
        judged = trees * (2**params.depth - 1) * columns * params.bins
        counts = (len(holders), trees * params.depth * len(holders), judged)
        shared_seconds = sum(map(operator.mul, counts, _SECONDS_ON_SHARES))
        shared_bytes = sum(map(operator.mul, counts, _BYTES_ON_SHARES))
    if name == leader:
        seconds = counted * trees * SECONDS_TO_ENCRYPT[params.encryption] + sent_back * SECONDS_TO_DECRYPT
    else:
        additions = counted * (1 + (params.depth - 1) / 2) * params.column_sample * _columns(job, name)
        seconds = trees * (additions * SECONDS_TO_ADD + counted * SECONDS_TO_CHECK) + sent_back * _SECONDS_TO_PACK
    sent, received = (down, up) if name == leader else (up, down)
    return Estimate(
        seconds=aligned.seconds + _SECONDS_AT_THE_START + seconds * ciphertext_work(params.key_bits) + shared_seconds,
        sent_bytes=aligned.sent_bytes + int(sent + nodes + shared_bytes),
        received_bytes=aligned.received_bytes + int(received + nodes + shared_bytes),
        peak_bytes=aligned.peak_bytes
        + int(common * (8 * _columns(job, name) + 200))
        + int(counted * CIPHERTEXT_BYTES * width * (name != leader)),
    )


def _columns(job: Job, name: str) -> int:
    return len(feature_names(job, name))


def _check(job: Job, params: TreesParams) -> None:
    check_keys(job, Params(params.normalisation))
    check_bits(params.key_bits)
    leader = by_role(job, LABEL_HOLDER)
    check_features(job)
    if params.local_trees and not _columns(job, leader):
        raise InputError(f"{leader}: local_trees use the label holder's own columns, and it names none")


SPEC = Spec(
    name="train.boosted_trees",
    version=1,
    summary="Train gradient-boosted trees on one party's labels and several parties' columns about the same people.",
    params=TreesParams,
    roles={
        LABEL_HOLDER: Role(
            lead, FEATURE_SLOTS | {"label": Slot("number or boolean", 1, 1, doc="what is to be predicted")}
        ),
        FEATURE_HOLDER: Role(follow, FEATURE_SLOTS, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    check=_check,
)
