"""Which jobs this party takes part in: deny by default, allow what its operator has granted. A pure decision.

A grant lets one peer take part in jobs of one kind on one dataset. A job is allowed when a grant of its own covers
each other member. A refusal tells the operator which rule of the closest grant failed and which smallest grant
would allow the job; it tells the peer `TOLD_TO_PEER` and nothing else, the same whether a dataset is missing or not
granted.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import ConfigDict, with_config

from mpc.errors import InputError, PolicyDenied
from mpc.uses import Use
from parties import budgets, column_rules
from parties.column_rules import Rule

#: In a grant: any protocol, column, purpose or receiver.
ANY = "*"
#: All that a refused peer learns.
TOLD_TO_PEER = "this party's policy does not allow the job"
SUGGESTED_LIFE_S = 7 * 24 * 3600

_LINE_SEPARATORS = frozenset("\u2028\u2029")
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class Grant:
    """What one peer may do with one dataset.

    `peer` and `receivers` are fingerprints; `receivers` are all who may learn a result, the own party included.
    `protocol` and `purpose` match exactly or are `ANY`; `columns` and `receivers` may hold `ANY`. An empty `dataset`
    lets this party take part without data of its own. `expires_at` is in seconds since 1970. `min_result` is the
    smallest minimum result that a job may have. `automatic` jobs start without a person. `rules` say what may become
    of columns in reports (see `parties.column_rules`); other protocols do not look at them. With `epsilon_millionths`
    only results with noise are allowed, and only while what the peer has cost the dataset for the purpose stays within
    that budget, whichever grants it was allowed by (see `parties.budgets`). `id` is empty until the grant is stored.
    """

    peer: str
    protocol: str
    dataset: str
    columns: tuple[str, ...]
    purpose: str
    receivers: tuple[str, ...]
    expires_at: int | None = None
    max_uses: int | None = None
    min_result: int = 0
    automatic: bool = False
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    epsilon_millionths: int | None = None
    id: str = ""
    uses: int = 0
    revoked: bool = False

    def __post_init__(self) -> None:
        if self.dataset == ANY:
            raise InputError("a grant names its dataset; one for every dataset would cover those of next year")
        if not self.receivers:
            raise InputError("a grant names who may learn the result", hint=f"name receivers, or {ANY!r} for any")
        if self.max_uses is not None and self.max_uses < 1:
            raise InputError("a grant's number of uses is 1 or more, or not limited")
        if self.min_result < 0 or self.uses < 0:
            raise InputError("a grant's minimum result and uses are not negative")
        if self.epsilon_millionths is not None:
            self._check_budget(self.epsilon_millionths)
        if not set(self.rules) <= set(self.columns):
            raise InputError("a grant has rules for columns that it does not name")
        _check_showable(self.protocol, self.dataset, self.purpose, *self.columns)

    def _check_budget(self, millionths: int) -> None:
        if not 0 < millionths <= budgets.MAX_EPSILON * budgets.MILLION:
            raise InputError(f"a grant's privacy budget is more than 0 and at most {budgets.MAX_EPSILON}")
        if not self.dataset or self.purpose == ANY:
            raise InputError(
                "a grant with a privacy budget names its dataset and its purpose",
                hint="with any purpose, a job could give a new one and begin anew",
            )


@dataclass(frozen=True)
class Request:
    """What one job wants of this party.

    `peers` are the fingerprints of all other members; `names` gives the registered name of every fingerprint in
    `peers` and `receivers`. `available` are the columns of the registered dataset, None when there is no such
    dataset. `minimum_result` is the smallest result that the job releases; `uses` what becomes of columns, for
    protocols whose grants have rules for them; `epsilon` what its result costs each person, in millionths, 0 if it is
    exact, and `spent` what earlier ones did, by peer.
    """

    peers: tuple[str, ...]
    names: Mapping[str, str]
    protocol: str
    dataset: str
    columns: tuple[str, ...]
    available: tuple[str, ...] | None
    purpose: str
    receivers: tuple[str, ...]
    minimum_result: int
    uses: Mapping[str, frozenset[Use]] = field(default_factory=dict)
    epsilon: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.peers or not self.receivers:
            raise InputError("a job has other members and receivers")
        if len(set(self.peers)) != len(self.peers):
            raise InputError("a party takes part in a job once")
        if not {*self.peers, *self.receivers} - {ANY} <= set(self.names):
            raise InputError("a job's members and receivers are registered peers")
        wanted = (self.protocol, self.dataset, self.purpose, *self.columns, *self.receivers)
        if ANY in wanted:
            raise InputError(f"a job names what it wants; {ANY!r} has a meaning in grants only")
        _check_showable(*wanted)


@dataclass(frozen=True)
class Allowed:
    """The job may run. `grants` are to be debited once, one for each peer; `automatic`: without a person."""

    grants: tuple[Grant, ...]
    automatic: bool


@dataclass(frozen=True)
class Refused:
    """The job may not run. `reason` and `hint` are for this party's operator; a peer is told `TOLD_TO_PEER`.

    `suggested` are the smallest grants that would allow it, none when no grant could.
    """

    reason: str
    hint: str
    suggested: tuple[Grant, ...] = ()

    def error(self) -> PolicyDenied:
        """The refusal as the operator sees it."""
        return PolicyDenied(self.reason, hint=self.hint)


def decide(request: Request, grants: Iterable[Grant], now: float) -> Allowed | Refused:
    """Whether `grants`, in any order, allow `request` at time `now`, in seconds since 1970."""
    missing = _missing(request)
    if missing:
        return missing
    grants = tuple(grants)
    chosen: list[Grant] = []
    reasons: list[str] = []
    suggested: list[Grant] = []
    for peer in request.peers:
        own = [grant for grant in grants if grant.peer == peer]
        covering = [grant for grant in own if not _failures(grant, request, now)]
        if covering:
            chosen.append(min(covering, key=_preference))
        else:
            reasons.append(_explain(peer, own, request, now))
            suggested.append(_smallest(peer, request, now))
    if reasons:
        commands = "\n".join(command(grant, request.names) for grant in suggested)
        return Refused("; ".join(reasons), f"to allow it once:\n{commands}", tuple(suggested))
    return Allowed(tuple(chosen), all(grant.automatic for grant in chosen))


def unusable(grant: Grant, now: float) -> str:
    """Why `grant` allows nothing at all any more; empty while it does."""
    if grant.revoked:
        return "was revoked"
    if grant.expires_at is not None and now >= grant.expires_at:
        return "has expired"
    if grant.max_uses is not None and grant.uses >= grant.max_uses:
        return f"is used up ({grant.uses} of {grant.max_uses} uses)"
    return ""


def over_budget(grant: Grant, spent: int, cost: int) -> str:
    """Why the budget of `grant` does not allow another `cost`, in words that follow the grant's name; empty if it does.

    All in millionths of epsilon.
    """
    if grant.epsilon_millionths is None or spent + cost <= grant.epsilon_millionths:
        return ""
    left = budgets.written(max(grant.epsilon_millionths - spent, 0))
    budget = budgets.written(grant.epsilon_millionths)
    return f"has epsilon {left} left of its privacy budget of {budget}; the job costs {budgets.written(cost)}"


def command(grant: Grant, names: Mapping[str, str]) -> str:
    """The command line that adds `grant`; `names` gives the name of each fingerprint in it."""
    words = ["sealane", "grant", "add", names[grant.peer], "--protocol", grant.protocol]
    if grant.dataset:
        words += ["--dataset", grant.dataset]
    for column in grant.columns:
        words += ["--column", column_rules.write(column, grant.rules.get(column, ()))]
    words += ["--purpose", grant.purpose]
    for receiver in grant.receivers:
        words += ["--receiver", receiver if receiver == ANY else names[receiver]]
    if grant.expires_at is not None:
        words += ["--expires", datetime.fromtimestamp(grant.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")]
    if grant.max_uses is not None:
        words += ["--max-uses", str(grant.max_uses)]
    if grant.min_result:
        words += ["--min-result", str(grant.min_result)]
    if grant.epsilon_millionths is not None:
        words += ["--epsilon", budgets.written(grant.epsilon_millionths)]
    if grant.automatic:
        words += ["--automatic"]
    return shlex.join(words)


def showable(text: str) -> bool:
    """Whether `text` is free of characters that could forge what an operator sees or copies to a shell."""
    return not any(
        ord(char) < 0x20
        or 0x7F <= ord(char) < 0xA0
        or "\ud800" <= char <= "\udfff"
        or char in _LINE_SEPARATORS
        or char in _BIDI_CONTROLS
        for char in text
    )


def _check_showable(*texts: str) -> None:
    if not all(map(showable, texts)):
        raise InputError("a name or purpose has a control character or one that reverses text", hint="remove it")


def _missing(request: Request) -> Refused | None:
    if not request.dataset:
        if request.columns:
            return Refused("the job asks for columns and names no dataset", "")
        return None
    if request.available is None:
        return Refused(
            f"no dataset {request.dataset!r} is registered here", "register it, or have the job name another"
        )
    absent = [column for column in request.columns if column not in request.available]
    if absent:
        return Refused(
            f"dataset {request.dataset} has no column {_listed(absent)}",
            f"its columns are {_listed(request.available[:50])}",
        )
    return None


def _failures(grant: Grant, request: Request, now: float) -> list[str]:
    """The rules of `grant` that `request` breaks, in words that follow the grant's name."""
    failures = [reason] if (reason := unusable(grant, now)) else []
    if grant.dataset != request.dataset:
        failures.append(f"is for {_dataset(grant.dataset)}; the job asks for {_dataset(request.dataset)}")
    if grant.protocol not in (ANY, request.protocol):
        failures.append(f"allows {grant.protocol}; the job runs {request.protocol}")
    also = [column for column in request.columns if column not in grant.columns]
    if also and ANY not in grant.columns:
        failures.append(f"allows columns {_listed(grant.columns) or '(none)'}; the job also asks for {_listed(also)}")
    if grant.purpose not in (ANY, request.purpose):
        failures.append(f"allows the purpose {grant.purpose!r}; the job's is {request.purpose!r}")
    extra = [receiver for receiver in request.receivers if receiver not in grant.receivers]
    if extra and ANY not in grant.receivers:
        known = _listed(_name(receiver, request) for receiver in grant.receivers)
        others = _listed(_name(receiver, request) for receiver in extra)
        failures.append(f"allows results for {known}; the job also gives them to {others}")
    if request.minimum_result < grant.min_result:
        failures.append(
            f"demands a minimum result of {grant.min_result} or more; the job's is {request.minimum_result}"
        )
    if grant.epsilon_millionths is not None and not request.epsilon:
        failures.append("has a privacy budget; the job's result is exact, without noise")
    elif reason := over_budget(grant, request.spent.get(grant.peer, 0), request.epsilon):
        failures.append(reason)
    if grant.protocol in (ANY, request.protocol):  # grants of other protocols need not have rules
        failures += column_rules.failures(grant.rules, request.uses, request.minimum_result)
    return failures


def _preference(grant: Grant) -> tuple[bool, bool, float, str]:
    """Which covering grant to debit: one that needs no person, that has no limit to spend, that ends first."""
    ends = float("inf") if grant.expires_at is None else grant.expires_at
    return not grant.automatic, grant.max_uses is not None, ends, grant.id


def _explain(peer: str, own: list[Grant], request: Request, now: float) -> str:
    if not own:
        return f"{request.names[peer]} has no grant"
    closest = min(
        own,
        key=lambda grant: (
            grant.dataset != request.dataset,
            grant.protocol not in (ANY, request.protocol),
            grant.purpose not in (ANY, request.purpose),
            len(_failures(grant, request, now)),
            grant.protocol == ANY,
            grant.id,
        ),
    )
    failures = _failures(closest, request, now)
    if len(failures) > 1:
        failures = [f"({number}) {failure}" for number, failure in enumerate(failures, 1)]
    return f"{request.names[peer]}: grant {closest.id} {', '.join(failures)}"


def _smallest(peer: str, request: Request, now: float) -> Grant:
    return Grant(
        peer=peer,
        protocol=request.protocol,
        dataset=request.dataset,
        columns=request.columns,
        purpose=request.purpose,
        receivers=request.receivers,
        expires_at=int(now) + SUGGESTED_LIFE_S,
        max_uses=1,
        min_result=request.minimum_result,
        rules=column_rules.smallest(request.uses, request.minimum_result),
        epsilon_millionths=request.spent.get(peer, 0) + request.epsilon if request.epsilon else None,
    )


def _name(fingerprint: str, request: Request) -> str:
    if fingerprint == ANY:
        return ANY
    return request.names.get(fingerprint, f"the party {fingerprint[:16]}")


def _dataset(name: str) -> str:
    return f"dataset {name}" if name else "no dataset"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
