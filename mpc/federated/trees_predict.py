"""Prediction by boosted trees whose parts different parties keep: scores or probabilities for rows that all have.

Rows are aligned first. Each feature holder says for each of its own splits in the model which rows it sends left; the
label holder puts these and its own splits into its trees.

Output:   each receiver learns the prediction for each of its rows whose key all parties have, in the order of its own
          table: its key columns, its output columns, then `prediction` (regression), `probability` (binary), or
          `probability of C` for each class.
Leaks:    as `mpc.federated.alignment`. The label holder learns, receiver or not, the predictions, and for each row and
          each split of a feature holder in the model on which side of it the row is; not the split's column or value.
          A feature holder that receives nothing learns nothing of the predictions.
Security: semi-honest; that of the alignment. There is no other cryptography: what each learns is stated above.
Checks:   that all parts are of one training; the number of rules; every bitmap; columns against the model's.
Cost:     one bit for each row and split to the label holder; 8 bytes a row and output to each other receiver.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.declarations import KEY_SLOT
from mpc.federated.serving_params import ServeParams
from mpc.federated.trees_params import (
    MAX_CLASSES,
    MAX_COLUMNS,
    MODEL_KIND,
    MODEL_VERSION,
    EvaluateParams,
    PredictParams,
)
from mpc.job import Job
from mpc.psi.params import Params, by_role, check_keys
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_trees_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.channel import NamedChannel
    from mpc.federated.columns import Column
    from mpc.federated.model import Model
    from mpc.federated.trees_forest import Forest, Rules
    from mpc.federated.trees_objective import Target

AnyParty = Party[PredictParams] | Party[EvaluateParams] | Party[ServeParams]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]

_CHUNK_ROWS = 2**16
_CHUNK_RULES = 64
_CHUNK_VALUES = 2**17
_MAX_HEADING = 200


def lead(party: Party[PredictParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The label holder's part."""
    from mpc.federated import trees_wire as steps

    found = predict_common(party, tables)
    headings = headings_of(found.target)
    for peer in sorted(set(party.job.receivers) & set(party.peers)):
        link = steps.link_to(party, peer)
        send_headings(link, headings)
        send_values(link, found.values)
    return _outcome(party, tables, found.aligned, found.values, headings)


@dataclass(frozen=True)
class Predicted:
    """Predictions (rows x outputs) for the aligned rows, in their order, and what they are of."""

    aligned: alignment.Alignment
    target: "Target"
    values: F64 = field(repr=False)


def predict_common(party: AnyParty, tables: "Mapping[str, pa.Table]") -> Predicted:
    """The label holder's part up to the predictions, which nobody else has yet; the others play `follow`."""
    leader = Leader.ready(party, tables)
    count = len(leader.aligned.rows)
    values = np.empty((count, len(leader.forest.start)))
    for rows in _chunks(count):
        values[rows] = leader.predict(rows)
        party.progress("predict", int(rows[-1]) + 1, count)
    return Predicted(leader.aligned, leader.target, values)


@dataclass(frozen=True)
class Leader:
    """The label holder when rows are aligned and all parts of the model fit."""

    aligned: alignment.Alignment
    target: "Target"
    forest: "Forest" = field(repr=False)
    owners: list[str]
    rules: "Rules" = field(repr=False)
    columns: "list[Column]" = field(repr=False)  # own, of the aligned rows
    links: "Mapping[str, NamedChannel]" = field(repr=False)

    @classmethod
    def ready(cls, party: AnyParty, tables: "Mapping[str, pa.Table]") -> "Leader":
        """Align with the others, who are `Follower.ready`; an error names whose part does not fit."""
        from mpc.federated import trees_wire as steps
        from mpc.federated.trees_forest import forest_of, rules_from
        from mpc.federated.trees_objective import target_of

        model, columns = _prepare(party, tables)
        owners = _owners(party, model)
        forest, rules = forest_of(model, len(owners)), rules_from(model)
        target = target_of(model, len(forest.start))
        aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
        links = {peer: steps.link_to(party, peer) for peer in sorted(party.peers)}
        for peer, link in links.items():
            _check_part(model, link, forest.rules(owners.index(peer)))
        own = [column.take(aligned.rows) for column in columns]
        return cls(aligned, target, forest, owners, rules, own, links)

    def predict(self, rows: I64) -> F64:
        """The predictions (rows x outputs) for some of the aligned rows, while the others `Follower.help`."""
        decisions: dict[int, BOOL] = {}
        for index, owner in enumerate(self.owners):
            if owner in self.links:
                decisions[index] = _receive_lefts(self.links[owner], self.forest.rules(index), len(rows))
            else:
                decisions[index] = self.rules.decide([column.take(rows) for column in self.columns], slice(None))
        return self.target.predict(self.forest.scores(decisions, len(rows)))


@dataclass(frozen=True)
class Follower:
    """A feature holder when rows are aligned and all parts of the model fit."""

    aligned: alignment.Alignment
    rules: "Rules" = field(repr=False)
    columns: "list[Column]" = field(repr=False)  # of the aligned rows
    link: "NamedChannel" = field(repr=False)

    @classmethod
    def ready(cls, party: AnyParty, tables: "Mapping[str, pa.Table]") -> "Follower":
        from mpc.federated import trees_wire as steps
        from mpc.federated.trees_forest import rules_from

        model, columns = _prepare(party, tables)
        rules = rules_from(model)
        aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
        link = steps.link_to(party, by_role(party.job, LABEL_HOLDER))
        _check_part(model, link, len(rules))
        return cls(aligned, rules, [column.take(aligned.rows) for column in columns], link)

    def help(self, rows: I64) -> None:
        """Tell the label holder which of some aligned rows each own rule sends left."""
        from mpc.federated import trees_wire as steps

        here = [column.take(rows) for column in self.columns]
        for some in _rule_chunks(len(self.rules)):
            self.link.send(wire.Lefts(bitmaps=[steps.pack_bits(left) for left in self.rules.decide(here, some)]))


def follow(party: AnyParty, tables: "Mapping[str, pa.Table]") -> Outcome:
    """A feature holder's part."""
    follower = Follower.ready(party, tables)
    count = len(follower.aligned.rows)
    for rows in _chunks(count):
        follower.help(rows)
        party.progress("predict", int(rows[-1]) + 1, count)
    if party.name not in party.job.receivers:
        return Outcome(None, follower.aligned.facts)
    headings = receive_headings(follower.link)
    values = receive_values(follower.link, count, len(headings))
    return _outcome(party, tables, follower.aligned, values, headings)


def _prepare(party: AnyParty, tables: "Mapping[str, pa.Table]") -> "tuple[Model, list[Column]]":
    """The party's part of the model, and its columns in the order that the model has them."""
    from mpc.federated.columns import check_schema, read_columns
    from mpc.federated.model import Model

    model = Model.from_bytes(party.model)
    model.require(MODEL_KIND, MODEL_VERSION, party.params.model)
    if model.party != party.name or dict(model.members) != _roles(party.job):
        raise InputError(
            f"{party.name}: the model was trained by {', '.join(sorted(model.members))} in other roles than these",
            hint="name the same parties in the same roles as in training",
        )
    trained = [(feature.name, feature.kind) for feature in model.features]
    return model, check_schema(read_columns(tables), trained, party.name)


def _roles(job: Job) -> dict[str, str]:
    return {name: member.role for name, member in job.members.items()}


def _owners(party: AnyParty, model: "Model") -> list[str]:
    """The parties that decide in the trees, by the number that stands for each there."""
    own = [party.name] if model.features else []
    owners = model.content.get("owners")
    if owners != [*own, *sorted(party.peers)]:
        raise InputError("not a model of boosted trees: other parties decide in its trees than took part")
    return list(owners)


def _check_part(model: "Model", link: "NamedChannel", rules: int) -> None:
    """That the peer's part is of the same training and has as many rules of the feature holder."""
    link.send(wire.Part(session=bytes.fromhex(model.session), rules=rules))
    theirs = link.recv(wire.Part)
    if theirs.session != bytes.fromhex(model.session):
        raise ProtocolError(f"{link.peer}: its part of the model is of another training")
    if theirs.rules != rules:
        raise ProtocolError(f"{link.peer}: its part of the model has {theirs.rules} rules of {rules}")


def _chunks(rows: int) -> Iterator[I64]:
    for at in range(0, rows, _CHUNK_ROWS):
        yield np.arange(at, min(at + _CHUNK_ROWS, rows))


def _rule_chunks(rules: int) -> Iterator[slice]:
    for at in range(0, rules, _CHUNK_RULES):
        yield slice(at, min(at + _CHUNK_RULES, rules))


def _receive_lefts(link: "NamedChannel", rules: int, rows: int) -> BOOL:
    from mpc.federated import trees_wire as steps

    lefts = np.empty((rules, rows), np.bool_)
    for some in _rule_chunks(rules):
        bitmaps = link.recv(wire.Lefts).bitmaps
        if len(bitmaps) != some.stop - some.start:
            raise ProtocolError(f"{link.peer}: sent {len(bitmaps)} bitmaps of {some.stop - some.start} rules")
        for index, data in enumerate(bitmaps):
            lefts[some.start + index] = steps.unpack_bits(link.peer, data, rows, "rows that go left")
    return lefts


def headings_of(target: "Target") -> list[str]:
    from mpc.federated.trees_objective import class_names

    if target.objective == "multiclass":
        return [f"probability of {name}" for name in class_names(target.classes)]
    return ["prediction" if target.objective == "regression" else "probability"]


def send_headings(link: "NamedChannel", headings: list[str]) -> None:
    link.send(wire.Headings(names=headings))


def send_values(link: "NamedChannel", values: F64) -> None:
    flat = values.astype("<f8").reshape(-1)
    for at in range(0, len(flat), _CHUNK_VALUES):
        link.send(wire.Outputs(values=flat[at : at + _CHUNK_VALUES].tobytes()))


def receive_headings(link: "NamedChannel") -> list[str]:
    headings = list(link.recv(wire.Headings).names)
    if not 1 <= len(headings) <= MAX_CLASSES or len(set(headings)) != len(headings):
        raise ProtocolError(f"{link.peer}: sent predictions of {len(headings)} columns, or of columns with one name")
    if not all(1 <= len(name) <= _MAX_HEADING for name in headings):
        raise ProtocolError(f"{link.peer}: sent a name of a column that is empty or too long")
    return headings


def receive_values(link: "NamedChannel", rows: int, columns: int) -> F64:
    values = np.empty(rows * columns)
    for at in range(0, len(values), _CHUNK_VALUES):
        data, due = link.recv(wire.Outputs).values, min(_CHUNK_VALUES, len(values) - at)
        if len(data) != 8 * due:
            raise ProtocolError(f"{link.peer}: sent {len(data)} bytes of predictions where {8 * due} were due")
        values[at : at + due] = np.frombuffer(data, "<f8")
    if not np.isfinite(values).all():
        raise ProtocolError(f"{link.peer}: sent a prediction that is not finite")
    return values.reshape(rows, columns)


def _outcome(
    party: AnyParty,
    tables: "Mapping[str, pa.Table]",
    aligned: alignment.Alignment,
    values: F64,
    headings: list[str],
) -> Outcome:
    """The party's own rows that all have, in their order, with the predictions beside them."""
    import pyarrow as pa

    from mpc.psi.table import own_columns

    if party.name not in party.job.receivers:
        return Outcome(None, aligned.facts)
    order = np.argsort(aligned.rows)
    table = own_columns(tables).take(pa.array(aligned.rows[order]))
    for index, heading in enumerate(headings):
        name = heading if heading not in table.column_names else f"predicted {heading}"
        table = table.append_column(name, pa.array(values[order, index], pa.float64()))
    return Outcome(table, aligned.facts)


def check(job: Job, params: PredictParams | EvaluateParams | ServeParams) -> None:
    check_keys(job, Params(params.normalisation))


def _reveals(job: Job, _params: PredictParams) -> dict[str, str]:
    leader = by_role(job, LABEL_HOLDER)
    said = alignment.reveals(job, leader)
    for name in said:
        if name == leader:
            said[name] += (
                "; the predictions for these rows; and for each of them on which side it is of each split that the "
                "others have in the model, not of which column or value"
            )
        elif name in job.receivers:
            said[name] += "; the predictions for these rows"
    return said


_SECONDS_A_DECISION = 3e-9
_RULES = 200  # as a model of thirty trees of depth three has


def estimate(
    job: Job, _params: PredictParams | EvaluateParams | ServeParams, rows: Mapping[str, int], name: str
) -> Estimate:
    leader = by_role(job, LABEL_HOLDER)
    aligned = alignment.estimate(job, leader, dict(rows), name)
    common, others = min(rows.values()), len(job.members) - 1 if name == leader else 1
    bits = common * _RULES // 8 * others
    told = 8 * common * len(set(job.receivers) - {leader}) if name == leader else 8 * common * (name in job.receivers)
    sent, received = (told, bits) if name == leader else (bits, told)
    return Estimate(
        seconds=aligned.seconds + common * _RULES * _SECONDS_A_DECISION,
        sent_bytes=aligned.sent_bytes + sent,
        received_bytes=aligned.received_bytes + received,
        peak_bytes=aligned.peak_bytes + 100 * common + _RULES * _CHUNK_ROWS,
    )


SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot(
        "number or boolean", most=MAX_COLUMNS, doc="the columns of numbers that the model was trained with"
    ),
    "category": Slot("any", most=MAX_COLUMNS, doc="the columns of categories that the model was trained with"),
}
OUTPUT = {"output": Slot("any", most=32, doc="columns of the party's own result beside the key")}

SPEC = Spec(
    name="predict.boosted_trees",
    version=1,
    summary="Predict by boosted trees that several parties trained, for the rows that all of them have.",
    params=PredictParams,
    roles={
        LABEL_HOLDER: Role(lead, SLOTS | OUTPUT),
        FEATURE_HOLDER: Role(follow, SLOTS | OUTPUT, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals,
    estimate=estimate,
    minimum_result=lambda params: params.min_rows,
    model=lambda params: params.model,
    check=check,
)
