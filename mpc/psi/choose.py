"""Which protocol finds the keys that two parties share soonest, from what is known before there is a job.

A job names one protocol, which all parties approve, so whoever proposes it chooses. `choose` prices each protocol by
its own `estimate` and adds the link; `resolve` puts the choice into a job that says `FAMILY` instead of a protocol.
A choice never changes who learns what: a protocol whose result would show anybody more is left out, and may still be
named by hand. Where both parties learn the same, the choice may swap their roles: a small set is cheaper as the
receiver's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, TypeAdapter, ValidationError

from mpc.errors import InputError
from mpc.job import Job, Member, explain
from mpc.primitives import oprf
from mpc.psi import cardinality, ecdh, vole, vole_buckets
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MAX_KEYS
from mpc.psi.vole_buckets import DEFAULT_MEMORY_MB, MAX_TOTAL_KEYS
from mpc.spec import Estimate, Spec

FAMILY = "psi"
Release = Literal["rows", "aligned", "count"]


@dataclass(frozen=True)
class PsiParams:
    """Parameters of a job whose protocol is still to be chosen: `normalisation`, `min_result` and `release` as in
    psi.vole, `memory_mb` as in psi.vole_buckets: protocols that would need more are not chosen.
    """

    normalisation: tuple[str, ...] = ()
    min_result: Annotated[StrictInt, Field(ge=0, le=MAX_KEYS)] = 1
    release: Release = "rows"
    memory_mb: Annotated[StrictInt, Field(ge=512, le=2**20)] = DEFAULT_MEMORY_MB


_PARAMS = TypeAdapter(PsiParams)
_OTHER = {"receiver": "sender", "sender": "receiver"}
_SWAP_GAIN = 1.1


@dataclass(frozen=True)
class Network:
    """What two parties are joined by: bytes a second each way, and the seconds that a message and its answer take."""

    bytes_per_second: float
    round_trip_s: float = 0.0

    def __post_init__(self) -> None:
        if self.bytes_per_second <= 0 or self.round_trip_s < 0:
            raise InputError("a link carries more than 0 bytes a second, and a round trip takes 0 seconds or more")


#: Parties on one machine.
LOOPBACK = Network(1e9)


@dataclass(frozen=True)
class Choice:
    """The protocol to use, and one sentence that says why.

    `seconds` is what each protocol that could be used would take from start to end, and `estimates` its cost by role
    as the job names them. `swapped`: it is that fast if the two members swap roles.
    """

    protocol: str
    reason: str
    seconds: Mapping[str, float]
    estimates: Mapping[str, Mapping[str, Estimate]]
    swapped: bool = False


@dataclass(frozen=True)
class _Candidate:
    """`unfit` says why it cannot release in one of the ways; an empty reason is not worth saying. `turns`: messages
    of which each waits for the one before. `streams`: it computes on all cores while it sends and receives.
    """

    spec: Spec[Any]
    most_keys: int
    turns: int
    streams: bool
    unfit: Mapping[Release, str] = field(default_factory=dict)

    def excuse(self, release: Release, rows: Mapping[str, int]) -> str | None:
        if release in self.unfit:
            return self.unfit[release]
        return f"takes at most {self.most_keys} keys" if max(rows.values()) > self.most_keys else None

    def elapsed(self, parts: Mapping[str, Estimate], link: Network, cores: int) -> float:
        """Seconds from start to end."""
        delay = self.turns * link.round_trip_s / 2
        work = max(part.seconds for part in parts.values())
        sent = [part.sent_bytes / link.bytes_per_second for part in parts.values()]
        return delay + (max(work / cores, *sent) if self.streams else work + sum(sent))


# The messages in turn include greeting and sizes.
_CANDIDATES = (
    _Candidate(ecdh.SPEC, MAX_KEYS, 5, True, {"aligned": "cannot align results", "count": ""}),
    _Candidate(cardinality.SPEC, MAX_KEYS, 5, True, {"rows": "", "aligned": ""}),
    _Candidate(
        vole.SPEC,
        oprf.MAX_KEYS - CANARIES,
        9,
        False,
        {"count": "would let the receiver's node see which keys match"},
    ),
    _Candidate(vole_buckets.SPEC, MAX_TOTAL_KEYS, 9, False, {"count": ""}),
)


@dataclass(frozen=True)
class _Price:
    """What a protocol costs with the roles as named or swapped; `parts` by role as named."""

    parts: Mapping[str, Estimate]
    seconds: float
    peak_bytes: int
    swapped: bool


def choose(
    rows: Mapping[str, int],
    link: Network = LOOPBACK,
    *,
    release: Release = "rows",
    both: bool = False,
    cores: int = 1,
    memory_mb: int = DEFAULT_MEMORY_MB,
    among: Collection[str] | None = None,
) -> Choice:
    """The protocol that is done first for datasets of `rows["receiver"]` and `rows["sender"]` rows.

    `release` as in psi.vole; `both`: the sender learns the result too; `cores`: of the party that has fewer;
    `memory_mb`: what a party's process may use; `among`: the names of the protocols that the parties allow, None for
    all. Raises `InputError` if none of them fits.
    """
    if set(rows) != {"receiver", "sender"} or min(rows.values()) < 0:
        raise InputError("rows are given for the roles receiver and sender, 0 or more each")
    both = both or release == "aligned"
    price = partial(_price, rows=rows, link=link, release=release, both=both, cores=cores, memory_mb=memory_mb)
    prices: dict[str, _Price] = {}
    excuses: dict[str, str] = {}
    for candidate in _CANDIDATES:
        name = candidate.spec.name
        excuse = candidate.excuse(release, rows)
        if excuse is None and among is not None and name not in among:
            excuse = "is not allowed by both parties"
        if excuse is None:
            cheapest = min(
                (price(candidate, swapped=each) for each in ((False, True) if both else (False,))), key=_order
            )
            if cheapest.peak_bytes <= memory_mb * 2**20 or candidate.spec is vole_buckets.SPEC:
                prices[name] = cheapest
            else:
                excuse = f"needs {cheapest.peak_bytes / 2**20:.0f} MiB of memory"
        if excuse:
            excuses[name] = excuse
    if not prices:
        raise InputError(
            "no protocol fits: " + "; ".join(f"{name} {excuse}" for name, excuse in excuses.items()),
            hint="ask for a grant, split the sets, or name the protocol",
        )
    seconds = {name: each.seconds for name, each in prices.items()}
    best = min(seconds, key=seconds.__getitem__)
    others = [f"{name} takes about {_about(seconds[name])}" for name in seconds if name != best]
    others += [f"{name} {excuse}" for name, excuse in excuses.items()]
    reason = f"{best} takes about {_about(seconds[best])} for {rows['receiver']} and {rows['sender']} rows"
    if prices[best].swapped:
        reason += ", with the roles swapped"
    estimates = {name: each.parts for name, each in prices.items()}
    return Choice(best, "; ".join([reason, *others]), seconds, estimates, prices[best].swapped)


def resolve(job: Job, protocol: str, *, swapped: bool = False) -> Job:
    """`job`, whose protocol is `FAMILY`, with `protocol` in its place and, if told so, with the roles of its members
    swapped; raises `InputError` where that does not fit.
    """
    candidate = next((each for each in _CANDIDATES if each.spec.name == protocol), None)
    if candidate is None or job.protocol != FAMILY:
        raise InputError(f"{job.protocol} cannot become {protocol}")
    release = read_params(job).release
    if release in candidate.unfit:
        raise InputError(f"{protocol} does not release {release}", hint=f"let the protocol be {FAMILY} again")
    known = {field.name for field in fields(candidate.spec.params)}
    unknown = sorted(set(job.params) - known - {"release", "memory_mb"})
    if unknown:
        raise InputError(f"{protocol} has no parameter {unknown[0]!r}", hint="name the protocol that has it")
    params = {name: value for name, value in job.params.items() if name in known}
    members = job.members
    if swapped:
        if set(job.receivers) != set(members):
            raise InputError("roles can be swapped only where both parties learn the result")
        members = {name: replace(member, role=_OTHER[member.role]) for name, member in members.items()}
    return replace(job, protocol=protocol, version=candidate.spec.version, params=params, members=members)


def describe_params() -> dict[str, Any]:
    """The JSON schema of `PsiParams`."""
    return _PARAMS.json_schema()


def read_params(job: Job) -> PsiParams:
    """The parameters of a job of this family, as far as they are the family's; raises `InputError`."""
    known = {each.name for each in fields(PsiParams)}
    try:
        return _PARAMS.validate_python({name: value for name, value in job.params.items() if name in known})
    except ValidationError as error:
        raise InputError(f"parameters of {FAMILY}: {explain(error)}") from None


def _price(
    candidate: _Candidate,
    *,
    rows: Mapping[str, int],
    link: Network,
    release: Release,
    both: bool,
    cores: int,
    memory_mb: int,
    swapped: bool,
) -> _Price:
    receivers = ("receiver", "sender") if both else ("receiver",)
    members = {role: Member(role, columns={"key": ("key",)}) for role in rows}
    family = Job(FAMILY, members, receivers, {"release": release, "memory_mb": memory_mb})
    job = resolve(family, candidate.spec.name, swapped=swapped)
    params = candidate.spec.parse(job)
    parts = {name: candidate.spec.estimate(job, params, rows, name) for name in rows}
    seconds = candidate.elapsed(parts, link, cores)
    return _Price(parts, seconds, max(part.peak_bytes for part in parts.values()), swapped)


def _order(price: _Price) -> tuple[float, bool]:
    """Roles are swapped where that gains a tenth."""
    return price.seconds * (_SWAP_GAIN if price.swapped else 1.0), price.swapped


def _about(seconds: float) -> str:
    """Two digits of it."""
    return f"{float(f'{seconds:.2g}'):,g} s"
