"""Statistics over the rows of n parties, by group and bin, from masked sums (sum.masked).

First only the counts are summed, and only the aggregator, the first receiver, sees them. It names the cells in which a
count is under the agreed minimum; the second sum leaves those out at every party. The aggregator passes the second
sum on to the other receivers. There is no row of totals: it would give back the one suppressed cell by subtraction.

Output:   each receiver learns, for each cell that is not suppressed, the counts, and as far as the statistics need
          them the sums and sums of squares, of all parties' rows; for the others, that they are suppressed.
Leaks:    the aggregator's process sees the first counts, of small cells too. All learn which cells have small counts
          and who survived. When a party drops out between the two sums, the aggregator's process learns that party's
          counts by difference, and the sums of a cell that fell below the minimum just then, which is suppressed; an
          aggregator that is not honest can bring this about by calling a party lost. A receiver can subtract its
          own part. A cell to which one party alone brought rows shows that party's figures, though not whose.
Security: that of `mpc.sharing.masked_sum`. The aggregator is trusted to name the small cells; a party does notice when
          a cell is called small in which it alone has the minimum.
Cost:     8 bytes a cell, party and integer: see `mpc.sharing.statistics`.
Source:   as `mpc.sharing.masked_sum`; minimum group: Hundepool et al., Statistical Disclosure Control, 2012, chapter 4.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ChannelError, InputError, ProtocolError
from mpc.job import Job
from mpc.sharing.dropouts import require_enough, threshold
from mpc.sharing.masked_sum import Setting, masked_sum, recv_words, send_words
from mpc.sharing.statistics_params import MAX_VALUES, Params
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import masked_sum_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa


def run(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party; what it brings is checked whole before anything is sent.

    Facts: "parties", "survivors", "groups" (cells of the table) and "suppressed" (cells withheld; a party that is no
    receiver knows only of those of the first sum).
    """
    from mpc.sharing import statistics  # loads Arrow, which a process that only reads SPEC does without

    params = party.params
    own = statistics.contribution(params, tables, len(party.job.members), party.rng)
    setting = Setting.of(party, params.survive_dropouts, b"counts", party.progress)
    suppressed, counts = np.zeros(params.cells, np.bool_), None
    if params.minimum_group:
        own_counts = own[:, params.count_columns]
        first = masked_sum(setting, own_counts.reshape(-1))
        counts = None if first.total is None else first.total.reshape(own_counts.shape)
        suppressed = _agree_on_suppressed(setting, params, first.survivors, counts, own_counts)
        setting = setting.among(first.survivors)
    sums = np.zeros((0, params.width), np.int64)
    if not suppressed.all():
        second = masked_sum(replace(setting, label=b"values"), own[~suppressed].reshape(-1))
        if second.total is not None:
            sums = second.total.reshape(-1, params.width)
            same_parties = second.survivors == setting.members
            suppressed, sums = _still_large(params, suppressed, sums, counts if same_parties else None)
        setting = setting.among(second.survivors)
    table = None
    if party.name in party.job.receivers:
        suppressed, sums = _share_result(setting, party.job.receivers, params, suppressed, sums)
        table = statistics.result_table(params, suppressed, sums)
    facts = {
        "parties": len(party.job.members),
        "survivors": len(setting.members),
        "groups": params.cells,
        "suppressed": int(suppressed.sum()),
    }
    return Outcome(table, facts, dropped=tuple(sorted(set(party.job.members) - set(setting.members))))


def _small(params: Params, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The cells in which any count is under the minimum."""
    return np.asarray((counts < params.minimum_group).any(axis=1))


def _agree_on_suppressed(
    setting: Setting,
    params: Params,
    survivors: tuple[str, ...],
    counts: NDArray[np.int64] | None,
    own_counts: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """The cells to leave out of the second sum; `counts` are the first sum's, which only the aggregator has."""
    if counts is None:
        suppressed = _recv_suppressed(setting, params)
        if not _small(params, own_counts)[suppressed].all():
            raise ProtocolError(f"{setting.aggregator}: suppresses a cell in which this party alone has the minimum")
        return suppressed
    if (counts < own_counts).any():
        raise ProtocolError("a party brought a negative count")
    suppressed = _small(params, counts)
    for peer in survivors:
        if peer != setting.name:
            setting.links.try_send(peer, _bitmap(suppressed))
    return suppressed


def _still_large(
    params: Params, suppressed: NDArray[np.bool_], sums: NDArray[np.int64], counts: NDArray[np.int64] | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """As the aggregator: which cells are suppressed after the second sum, and the sums of the others.

    A cell may have become too small when a party dropped out. `counts` are the first sum's, if it was over the same
    parties and so must have given the same.
    """
    again = sums[:, params.count_columns]
    if counts is not None and (again != counts[~suppressed]).any():
        raise ProtocolError("a party brought other counts to the second sum than to the first")
    kept = ~_small(params, again)
    final = suppressed.copy()
    final[~suppressed] = ~kept
    return final, sums[kept]


def _share_result(
    setting: Setting,
    receivers: tuple[str, ...],
    params: Params,
    suppressed: NDArray[np.bool_],
    sums: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """From the aggregator to the other receivers: which cells are suppressed, and the sums of the others."""
    if setting.name == setting.aggregator:
        reached = [name for name in setting.members if name not in receivers[1:]]
        for peer in receivers[1:]:
            if peer not in setting.members:
                continue
            try:
                setting.links.send(peer, _bitmap(suppressed))
                send_words(setting.links, peer, sums.reshape(-1).view(np.uint64))
                reached.append(peer)
            except ChannelError:
                continue
        require_enough(setting.members, reached, setting.needed)
        return suppressed, sums
    final = _recv_suppressed(setting, params)
    if (suppressed & ~final).any():
        raise ProtocolError(f"{setting.aggregator}: releases a cell that was suppressed")
    words = recv_words(setting.links, setting.aggregator, int((~final).sum()) * sums.shape[1])
    return final, words.view(np.int64).reshape(-1, sums.shape[1])


def _bitmap(suppressed: NDArray[np.bool_]) -> wire.Suppressed:
    return wire.Suppressed(cells=np.packbits(suppressed, bitorder="little").tobytes())


def _recv_suppressed(setting: Setting, params: Params) -> NDArray[np.bool_]:
    data = setting.links.recv(setting.aggregator, wire.Suppressed).cells
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(np.bool_)
    if len(data) != (params.cells + 7) // 8 or bits[params.cells :].any():
        raise ProtocolError(f"{setting.aggregator}: sent a list of suppressed cells of the wrong length")
    return bits[: params.cells]


def reveals(job: Job, params: Params) -> dict[str, str]:
    """One sentence a party; see the module's docstring for the same in full."""
    aggregator, *receivers = job.receivers
    figures = ("counts", "counts and sums", "counts, sums and sums of squares")[
        params.takes_sums + params.takes_squares
    ]
    floor = f" with at least {params.minimum_group} of each count" if params.minimum_group else ""
    result = f"the {figures} of all parties together in each group and bin{floor}, from which it can subtract its own"
    if len(job.members) == 2:
        result += ", which leaves the other party's"
    shared = "which cells are suppressed as too small, and which parties dropped out"
    texts = {}
    for name in job.members:
        if name == aggregator:
            texts[name] = f"{result}{_aggregator_sees(params)}; {shared}"
        elif name in receivers:
            texts[name] = f"{result}; {shared}"
        else:
            texts[name] = f"{shared}, and no count or sum"
    left = threshold(len(job.members), params.survive_dropouts)
    note = f"; any {left} of the {len(job.members)} parties together could learn each party's own counts and sums"
    return {name: text + note * (params.survive_dropouts > 0) for name, text in texts.items()}


def _aggregator_sees(params: Params) -> str:
    """What passes through the first receiver's process beside the result."""
    if not params.minimum_group:
        return ""
    text = "; while it runs, also the counts of smaller cells"
    if params.survive_dropouts:
        text += (
            ", and if a party drops out between counting and summing, that party's counts and the sums of cells that "
            "became too small by it"
        )
    return text


def estimate(job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    """The price of one party's part when no cell is suppressed and nobody drops out."""
    parties, lossy = len(job.members), params.survive_dropouts > 0
    sums = [params.cells * params.width]
    if params.minimum_group:
        sums.append(params.cells * (1 + len(params.values)))
    masks = sum(sums) * (parties + lossy)
    peers = len(sums) * (parties - 1) * (_LOSSY_PEER_BYTES + 2 * parties if lossy else _PEER_BYTES)
    sent = received = peers
    if name == job.receivers[0]:
        masks += sum(sums) * parties * lossy
        received += 8 * sum(sums) * (parties - 1) + len(sums) * (parties - 1) * 18 * parties * lossy
        sent += 8 * sums[0] * (len(job.receivers) - 1) + params.cells // 8 * (parties - 1)
    else:
        sent += 8 * sum(sums) + len(sums) * 18 * parties * lossy
        received += (8 * sums[0] if name in job.receivers else 0) + params.cells // 8
    entries = rows.get(name, 0) * (1 + len(params.values))
    return Estimate(
        seconds=_SECONDS_A_PEER * parties * len(sums)
        + entries * _SECONDS_AN_ENTRY
        + masks * _SECONDS_A_MASK
        + sum(sums) * _SECONDS_A_WORD,
        sent_bytes=sent,
        received_bytes=received,
        peak_bytes=_BASE_BYTES + entries * _BYTES_AN_ENTRY + sum(sums) * _BYTES_A_WORD,
    )


_SECONDS_A_PEER = 1e-3
_SECONDS_AN_ENTRY = 1e-7
_SECONDS_A_MASK = 4e-9
_SECONDS_A_WORD = 2e-6
_PEER_BYTES = 100
_LOSSY_PEER_BYTES = 275
_BASE_BYTES = 120 * 2**20  # interpreter, numpy and Arrow
_BYTES_AN_ENTRY = 80
_BYTES_A_WORD = 200


def check(job: Job, params: Params) -> None:
    """Refuse members whose columns do not match the values and groups, and drop-outs that cannot be survived."""
    threshold(len(job.members), params.survive_dropouts)
    for name, member in job.members.items():
        for slot, wanted in (("value", len(params.values)), ("group", int(bool(params.groups)))):
            given = len(member.columns.get(slot, ()))
            if given != wanted:
                raise InputError(f"{name}: names {given} columns for {slot}, and the parameters ask for {wanted}")


SPEC = Spec(
    name="sum.masked",
    version=1,
    summary="Counts, sums, means and variances over many parties' rows, by agreed groups or bins, without a join.",
    params=Params,
    roles={
        "party": Role(
            run=run,
            slots={
                "value": Slot("number", 0, MAX_VALUES, "numbers to sum, in the order of the parameter values"),
                "group": Slot("key", 0, 1, "the key that says to which of the agreed groups a row belongs"),
            },
            least=2,
            most=50,
        )
    },
    reveals=reveals,
    estimate=estimate,
    minimum_result=lambda params: params.minimum_group,
    tolerates=lambda params: params.survive_dropouts,
    check=check,
)
