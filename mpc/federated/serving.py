"""Prediction on call: parties keep columns and parts of a model ready, and one of them asks about rows when it wants.

The parties align their rows once, then wait. Whenever its operator asks about some keys, the receiver names the rows
that all have to the other parties, which join in one prediction for these, as `mpc.federated.trees_predict` or
`mpc.federated.regression_predict` describe it. It ends when its operator says so, when as many calls or rows as were
agreed have been answered, or with the job's deadline.

Output:   the receiver's operator learns, call by call, the prediction for each key that all parties have, nothing for
          others. The receiver's table holds a row a call: how many keys were asked for, and how many were predicted.
Leaks:    as `mpc.federated.alignment`, and for the rows that are asked for as predict.boosted_trees or
          predict.regression. Each other party also learns which of the common rows each call asks for, and when.
          Predictions are known before the job has ended, whether or not it then succeeds.
Security: that of the prediction.
Checks:   that rows are common ones; every party counts calls and rows, also over attempts after an interruption, and
          ends the job rather than answer beyond what was agreed. At the end all take the most that any counted, which
          may be one call more than another did where an interruption struck it; the receipt states it.
Cost:     at the start that of the alignment. A call: two messages in turn between two parties, three among more; 4
          bytes a row to each other party, and what a prediction costs. Two messages in turn at the end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.channel import NamedChannel
from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment, regression_predict, trees_predict
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.regression_predict import PREDICT_SLOTS
from mpc.federated.serving_params import MAX_CALL_ROWS, ServeParams
from mpc.federated.trees_predict import SLOTS
from mpc.job import Job
from mpc.psi.params import Params, by_role, check_keys, profile_names
from mpc.spec import Estimate, Outcome, Party, Role, Spec
from mpc.tally import Tally
from protos import federated_serving_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ready:
    """A party that waits for calls.

    `rows` are its common rows, in the shared order. `predict(call, places)` plays its part in a prediction for some of
    them, given by their places in that order; all parties call it together, and the receiver gets an array of a row a
    place and a column for each of `headings`, which only it need know.
    """

    rows: I64 = field(repr=False)
    facts: dict[str, int]
    headings: list[str]
    predict: Callable[[int, I64], F64 | None] = field(repr=False)


def _serve(party: Party[ServeParams], tables: "Mapping[str, pa.Table]", ready: Ready) -> Outcome:
    tally = Tally.of(party.spool)
    table, settle = None, _follow_count
    if party.name in party.job.receivers:
        table, settle = _ask(party, tables["key"], ready, tally), _settle_count
    else:
        _answer(party, ready, tally)
    counted = settle(party, wire.Counted(calls=tally.calls, rows=tally.rows))
    return Outcome(table, {**ready.facts, "calls": counted.calls, "predicted_rows": counted.rows})


def _ask(party: Party[ServeParams], own_keys: "pa.Table", ready: Ready, tally: Tally) -> "pa.Table":
    """The receiver's part: ask the others what its operator asks. Gives a row a call of this attempt."""
    import pyarrow as pa

    directory = _Directory.of(party, own_keys, ready.rows)
    links = [NamedChannel(peer, channel) for peer, channel in sorted(party.peers.items())]
    asked, predicted = list[int](), list[int]()
    questions = iter(party.questions)
    party.progress("calls", tally.calls, party.params.calls)
    while tally.calls < party.params.calls and tally.rows < party.params.rows:
        question = next(questions, None)
        if question is None:
            break
        try:
            places = directory.find(question.keys)
            wanted = np.unique(places[places >= 0])
            _check_room(party.params, tally, len(wanted))
        except InputError as error:
            question.refuse(error)
            continue
        values = None
        if len(wanted):
            tally.add(len(wanted))
            call = len(asked) + 1
            for link in links:
                link.send(wire.Ask(call=call, rows=wanted.astype("<u4").tobytes()))
            values = ready.predict(call, wanted)
            asked.append(question.keys.num_rows)
            predicted.append(len(wanted))
        if values is None:
            values = np.zeros((1, len(ready.headings)))
        index = np.where(places >= 0, np.searchsorted(wanted, places), 0)
        question.answer(_with_predictions(question.keys, ready.headings, values[index], places >= 0))
        party.progress("calls", tally.calls, party.params.calls)
    for link in links:
        link.send(wire.Ask(closed=True))
    calls = pa.array(range(1, len(asked) + 1), pa.int64())
    return pa.table({"call": calls, "keys": pa.array(asked, pa.int64()), "predicted": pa.array(predicted, pa.int64())})


def _answer(party: Party[ServeParams], ready: Ready, tally: Tally) -> None:
    """Every other party's part: join in predictions for the rows that the receiver names."""
    (asking,) = party.job.receivers
    link, call = NamedChannel(asking, party.peers[asking]), 0
    while True:
        party.progress("calls", tally.calls, party.params.calls)
        message, call = link.recv(wire.Ask), call + 1
        if message.closed:
            return
        places = _places(message, link.peer, call, len(ready.rows))
        if tally.calls >= party.params.calls or tally.rows + len(places) > party.params.rows:
            raise ProtocolError(f"{link.peer}: asks for more calls or rows than were agreed")
        tally.add(len(places))
        ready.predict(call, places)


def _settle_count(party: Party[ServeParams], own: wire.Counted) -> wire.Counted:
    """The asking party's part in agreeing on what was answered: the most that any party counted.

    After an interruption they may differ by the call that it struck.
    """
    links = [NamedChannel(peer, channel) for peer, channel in sorted(party.peers.items())]
    every = [own, *(_receive_count(party, link) for link in links)]
    counted = wire.Counted(calls=max(each.calls for each in every), rows=max(each.rows for each in every))
    for link in links:
        link.send(counted)
    return counted


def _follow_count(party: Party[ServeParams], own: wire.Counted) -> wire.Counted:
    """Every other party's part."""
    (asking,) = party.job.receivers
    link = NamedChannel(asking, party.peers[asking])
    link.send(own)
    counted = _receive_count(party, link)
    if counted.calls < own.calls or counted.rows < own.rows:
        raise ProtocolError(f"{link.peer}: counts fewer calls or rows than were answered")
    return counted


def _receive_count(party: Party[ServeParams], link: NamedChannel) -> wire.Counted:
    counted = link.recv(wire.Counted)
    if counted.calls > party.params.calls or counted.rows > party.params.rows:
        raise ProtocolError(f"{link.peer}: counts more calls or rows than were agreed")
    return counted


def _places(message: wire.Ask, peer: str, call: int, common: int) -> I64:
    """The rows that a call asks for."""
    if message.call != call or len(message.rows) % 4 or not 4 <= len(message.rows) <= 4 * MAX_CALL_ROWS:
        raise ProtocolError(f"{peer}: asks out of turn, for no rows, or for more than {MAX_CALL_ROWS}")
    places = np.frombuffer(message.rows, "<u4").astype(np.int64)
    if places[-1] >= common or (np.diff(places) <= 0).any():
        raise ProtocolError(f"{peer}: asks for rows that are not common, or not in their order")
    return places


def _check_room(params: ServeParams, tally: Tally, rows: int) -> None:
    if rows > MAX_CALL_ROWS:
        raise InputError(f"{rows} rows are too many for one call (at most {MAX_CALL_ROWS})", hint="ask in parts")
    if tally.rows + rows > params.rows:
        raise InputError(
            f"{rows} rows are more than the {params.rows - tally.rows} that may still be asked for",
            hint="ask for fewer, or propose to serve the model again",
        )


@dataclass(frozen=True)
class _Directory:
    """From a key to its place among the common rows."""

    party: Party[ServeParams]
    columns: tuple[str, ...]
    places: Mapping[bytes, int] = field(repr=False)

    @classmethod
    def of(cls, party: Party[ServeParams], own_keys: "pa.Table", rows: I64) -> "_Directory":
        import pyarrow as pa

        made = cls(party, tuple(own_keys.column_names), {})
        digests = made._digests(own_keys.take(pa.array(rows)))[0]
        return replace(made, places={digest: place for place, digest in enumerate(digests)})

    def find(self, keys: "pa.Table") -> I64:
        """For each of these keys its place, -1 if not all parties have it; raises `InputError` for what are no keys."""
        if tuple(keys.column_names) != self.columns:
            raise InputError(f"keys are asked for by {', '.join(self.columns)}, not by {', '.join(keys.column_names)}")
        digests, key_of_row = self._digests(keys)
        found = np.array([self.places.get(digest, -1) for digest in digests] + [-1], np.int64)
        return found[np.where(key_of_row < 0, -1, key_of_row)]

    def _digests(self, keys: "pa.Table") -> tuple[list[bytes], I64]:
        from mpc.keys import encode_keys

        profiles = profile_names(self.party.job, Params(self.party.params.normalisation))
        found = encode_keys(keys, profiles, self.party.session)
        return [digest.tobytes() for digest in found.digests], found.key_of_row


def _with_predictions(keys: "pa.Table", headings: list[str], values: F64, known: BOOL) -> "pa.Table":
    """The keys, and beside them the predictions, null where there are none."""
    import pyarrow as pa

    for column, heading in enumerate(headings):
        name = heading if heading not in keys.column_names else f"predicted {heading}"
        keys = keys.append_column(name, pa.array(values[:, column], pa.float64(), mask=~known))
    return keys


# The two kinds of models.


def lead_trees(party: Party[ServeParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The label holder's part of serve.boosted_trees."""
    leader = trees_predict.Leader.ready(party, tables)
    headings = trees_predict.headings_of(leader.target)
    (asking,) = party.job.receivers
    link = leader.links.get(asking)
    if link is not None:
        trees_predict.send_headings(link, headings)

    def predict(_call: int, places: I64) -> F64 | None:
        values = leader.predict(places)
        if link is None:
            return values
        trees_predict.send_values(link, values)
        return None

    return _serve(party, tables, Ready(leader.aligned.rows, leader.aligned.facts, headings, predict))


def follow_trees(party: Party[ServeParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A feature holder's part of serve.boosted_trees."""
    follower = trees_predict.Follower.ready(party, tables)
    receives = party.name in party.job.receivers
    headings = trees_predict.receive_headings(follower.link) if receives else []

    def predict(_call: int, places: I64) -> F64 | None:
        follower.help(places)
        return trees_predict.receive_values(follower.link, len(places), len(headings)) if receives else None

    return _serve(party, tables, Ready(follower.aligned.rows, follower.aligned.facts, headings, predict))


def serve_regression(party: Party[ServeParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Every party's part of serve.regression."""
    part = regression_predict.Part.ready(party, tables)
    label = regression_predict.exchange_label(party, part.model)
    headings = [] if label is None else regression_predict.headings_of(part.model, label)

    def predict(call: int, places: I64) -> F64 | None:
        scores = regression_predict.sum_for_receivers(party, part.partial[places], b"serve.regression/%d" % call)
        return None if scores is None or label is None else regression_predict.predictions(part.model, scores, label)

    return _serve(party, tables, Ready(part.rows, part.facts, headings, predict))


def _check(job: Job, params: ServeParams) -> None:
    check_keys(job, Params(params.normalisation))
    if len(job.receivers) != 1:
        raise InputError("one party asks: name it as the only receiver")


def _reveals(job: Job, params: ServeParams) -> dict[str, str]:
    leader, (asking,) = by_role(job, LABEL_HOLDER), job.receivers
    said = alignment.reveals(job, leader)
    bound = f"in at most {params.calls} calls for at most {params.rows} rows in all"
    for name in said:
        if name == asking:
            said[name] += f"; call by call, before the job has ended, the predictions for rows it asks for, {bound}"
        else:
            said[name] += f"; which of these rows {asking} asks for, and when, {bound}"
    return said


def _reveals_trees(job: Job, params: ServeParams) -> dict[str, str]:
    said, leader = _reveals(job, params), by_role(job, LABEL_HOLDER)
    predicted = "" if leader in job.receivers else "the predictions, and "
    said[leader] += (
        f"; for the rows asked for, {predicted}on which side each is of each split that the others have in the model"
    )
    return said


def _reveals_regression(job: Job, params: ServeParams) -> dict[str, str]:
    said, (asking,) = _reveals(job, params), job.receivers
    others = sorted(set(job.members) - {asking})
    whose = f"{others[0]}'s part" if len(others) == 1 else "the sum of the others' parts"
    said[asking] += f"; and so {whose} of each of their scores"
    return said


def _estimate(of: Callable[..., Estimate]) -> Callable[[Job, ServeParams, Mapping[str, int], str], Estimate]:
    """That of a prediction for all rows that may be asked for, which the calls' own messages add to."""

    def estimate(job: Job, params: ServeParams, rows: Mapping[str, int], name: str) -> Estimate:
        once = of(job, params, rows, name)
        calls, asking = params.calls * (len(job.members) - 1), name in job.receivers
        told = 100 * calls + 4 * params.rows * (len(job.members) - 1)
        return replace(
            once,
            seconds=once.seconds + 0.003 * params.calls,
            sent_bytes=once.sent_bytes + (told if asking else 100 * params.calls),
            received_bytes=once.received_bytes + (100 * calls if asking else 4 * params.rows + 100 * params.calls),
        )

    return estimate


def _spec(
    name: str,
    what: str,
    leads: Role[ServeParams],
    follows: Role[ServeParams],
    reveals: Callable[[Job, ServeParams], dict[str, str]],
    of: Callable[..., Estimate],
) -> Spec[ServeParams]:
    """The protocol that keeps `what` ready; `of` is the estimate of its prediction."""
    return Spec(
        name=name,
        version=1,
        summary=f"Keep {what} that several parties trained ready, for predictions on call within milliseconds.",
        params=ServeParams,
        roles={LABEL_HOLDER: leads, FEATURE_HOLDER: replace(follows, most=alignment.MOST_PARTIES - 1)},
        reveals=reveals,
        estimate=_estimate(of),
        minimum_result=lambda params: params.min_rows,
        model=lambda params: params.model,
        asks=lambda job, _params: job.receivers[0],
        agreed=("calls", "predicted_rows"),
        check=_check,
    )


SPEC_TREES = _spec(
    "serve.boosted_trees",
    "boosted trees",
    Role(lead_trees, SLOTS),
    Role(follow_trees, SLOTS),
    _reveals_trees,
    trees_predict.estimate,
)
SPEC_REGRESSION = _spec(
    "serve.regression",
    "a regression",
    Role(serve_regression, PREDICT_SLOTS),
    Role(serve_regression, PREDICT_SLOTS),
    _reveals_regression,
    regression_predict.estimate,
)
