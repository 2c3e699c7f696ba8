"""What a protocol declares about itself: enough for a node to show, price, authorise and run it, knowing no more.

Each protocol module ends in its `SPEC`. `reveals` and `estimate` are what an approver is shown before a job runs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from mpc.channel import Channel
from mpc.conditions import Condition
from mpc.errors import InputError
from mpc.job import Job, explain
from mpc.questions import Question
from mpc.rng import Rng
from mpc.spool import MemorySpool, Spool
from mpc.uses import Use

if TYPE_CHECKING:  # a node shows specs without loading Arrow, which would double its memory
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    I64 = NDArray[np.int64]

P = TypeVar("P")

#: Reports work done: a step's name, how much is done, out of how much.
Progress = Callable[[str, int, int], None]


def no_progress(_step: str, _done: int, _total: int, /) -> None:
    """A `Progress` that tells nobody."""


def no_opening() -> None:
    """Nobody keeps account of what is opened."""


@dataclass(frozen=True)
class Slot:
    """An input a role takes from its party's dataset: how many columns, of what kind.

    "key" columns hold text, integers or dates and are matched after normalisation; "number" columns hold integers
    or decimal fractions, "number or boolean" columns these or booleans, which count as 0 and 1; "any" columns pass
    through to the party's own result.
    """

    kind: Literal["key", "number", "number or boolean", "any"]
    least: int = 0
    most: int = 32
    doc: str = ""


@dataclass(frozen=True)
class Rows:
    """Which rows of its dataset, `total` in all, a party's tables hold: their numbers, rising from 0."""

    numbers: "I64" = field(repr=False)
    total: int

    def spread(self, values: "I64", missing: int) -> "I64":
        """`values`, one a row that the tables hold, as one a row of the dataset."""
        import numpy as np

        whole = np.full(self.total, missing, np.int64)
        whole[self.numbers] = values
        return whole


@dataclass(frozen=True)
class Party(Generic[P]):
    """All that a role is given beside its input."""

    name: str
    job: Job
    params: P
    peers: Mapping[str, Channel]  # a channel to each other member, by name
    rng: Rng = field(repr=False)
    progress: Progress
    #: 16 bytes, new for each attempt and common to all parties; binds every seed, salt and mask.
    session: bytes
    #: Outlives the attempt, for protocols that go on after an interruption.
    spool: Spool = field(default_factory=MemorySpool, repr=False)
    #: For work beside the messages; None: threads of the protocol's own.
    pool: Executor | None = field(default=None, repr=False)
    #: This party's part of the model that the job uses (see `Spec.model`); empty if it uses none.
    model: bytes = field(default=b"", repr=False)
    #: Called by a role whose job costs epsilon before it shares what opens its figures: what fails earlier is free.
    opening: Callable[[], None] = no_opening
    #: The rows that its tables hold; None: all (see `Spec.conditions`).
    rows: Rows | None = field(default=None, repr=False)
    #: Those of the party's operator, each coming when it is asked, if the protocol takes some (see `Spec.asks`).
    questions: Iterable[Question] = field(default=(), repr=False)
    #: The text of the program that it runs (see `Spec.program`).
    program: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Outcome:
    """What one party is left with: a table if it is a receiver, and the counts it learned on the way.

    `model` is the party's own part of a model that the job trained, as `mpc.federated` writes it; empty if it trained
    none. The party keeps it, and later jobs use it by this job's id. `dropped` are the parties that were lost and that
    the protocol did without; all that are left agree on them.
    """

    table: "pa.Table | None" = field(repr=False)
    facts: Mapping[str, int] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    model: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Role(Generic[P]):
    """A part in a protocol: how many parties play it, which input each brings, and the function that plays it."""

    run: Callable[[Party[P], "Mapping[str, pa.Table]"], Outcome]
    slots: Mapping[str, Slot]
    least: int = 1
    most: int = 1


@dataclass(frozen=True)
class Estimate:
    """What a party's part will cost: seconds on one idle core of about 3 GHz with this machine's instructions, bytes,
    and working memory."""

    seconds: float
    sent_bytes: int
    received_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Spec(Generic[P]):
    """A protocol: its name, what people are told of it, and the functions by which a node runs and limits its jobs."""

    # What every protocol says of itself.

    name: str
    #: Changes with the wire format and with the meaning of a parameter.
    version: int
    summary: str
    #: A frozen dataclass: the fields of `Job.params`.
    params: type[P]
    roles: Mapping[str, Role[P]]
    #: (job, params): for each party's name one sentence that says all it learns.
    reveals: Callable[[Job, P], Mapping[str, str]]
    #: (job, params, rows, name): the price of the part of `name`, for datasets of `rows[party]` rows.
    estimate: Callable[[Job, P, Mapping[str, int], str], Estimate]
    #: The smallest result (rows or people) that the protocol releases.
    minimum_result: Callable[[P], int]

    # What some need.

    #: (job, params): raises `InputError` for combinations that the fields alone do not exclude.
    check: Callable[[Job, P], None] = lambda _job, _params: None
    #: How many parties other than receivers it can lose on the way.
    tolerates: Callable[[P], int] = lambda _params: 0
    #: The id of the job that trained the model that a job uses; empty if it uses none.
    model: Callable[[P], str] = lambda _params: ""
    #: (job, params, name): the SHA-256, hexadecimal, of the program that the party runs and must have registered; empty
    #: if it runs none.
    program: Callable[[Job, P, str], str] = lambda _job, _params, _name: ""
    #: (job, params): the name of the party whose operator asks questions while the job runs; empty if none does.
    asks: Callable[[Job, P], str] = lambda _job, _params: ""
    #: Names of `Outcome.facts` that the protocol makes the same for all parties, none of which it can do without: the
    #: receipt of a success states them.
    agreed: tuple[str, ...] = ()

    # What limits the use of single columns and rows.

    #: (job, params, name): what becomes of each of the party's columns; None: its grants have no rules for columns.
    uses: Callable[[Job, P, str], Mapping[str, frozenset[Use]]] | None = None
    #: (job, params, name, tables, rows): the set of each row of the dataset, as a number (-1: none), of the sets of the
    #: party's rows whose figures the result may show. For protocols whose exact figures could be told apart by a few
    #: people, whom the columns of "key" slots stand for.
    row_sets: Callable[[Job, P, str, "Mapping[str, pa.Table]", Rows | None], "I64"] | None = None
    #: (job, params, name): of the party's rows the role is given those for which all of these hold, or more.
    conditions: Callable[[Job, P, str], Sequence[Condition]] = lambda _job, _params, _name: ()
    #: Whether no party may write rows, shares or results to disk.
    in_memory: Callable[[P], bool] = lambda _params: False
    #: What a result costs each person in it, in millionths of differential privacy's epsilon; 0: it is exact.
    epsilon: Callable[[P], int] = lambda _params: 0

    def parse(self, job: Job) -> P:
        """The job's parameters, checked; raises `InputError` when the job does not fit this protocol."""
        if job.protocol != self.name or job.version != self.version:
            raise InputError(
                f"the job asks for {job.protocol} version {job.version}; this release has {self.name} version "
                f"{self.version}",
                hint="use releases that share a version of this protocol",
            )
        known = [field.name for field in fields(self.params)]  # type: ignore[arg-type]
        unknown = sorted(set(job.params) - set(known))
        if unknown:
            raise InputError(f"{self.name} has no parameter {unknown[0]!r}, only {', '.join(known)}")
        params = self._checked(job.params)
        self._check_members(job)
        self.check(job, params)
        return params

    def _checked(self, given: Mapping[str, Any]) -> P:
        if not given and all(_has_default(field) for field in fields(self.params)):  # type: ignore[arg-type]
            return self.params()
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(self.params).validate_python(dict(given))
        except ValidationError as error:
            raise InputError(f"parameters of {self.name}: {explain(error)}") from None

    def _check_members(self, job: Job) -> None:
        for name, member in job.members.items():
            role = self.roles.get(member.role)
            if role is None:
                raise InputError(f"{name}: {self.name} has no role {member.role!r}, only {', '.join(self.roles)}")
            unknown = sorted(set(member.columns) - set(role.slots))
            if unknown:
                raise InputError(f"{name}: role {member.role} takes no {unknown[0]!r}, only {', '.join(role.slots)}")
            for slot_name, slot in role.slots.items():
                columns = member.columns.get(slot_name, ())
                if not slot.least <= len(columns) <= slot.most:
                    raise InputError(
                        f"{name}: {slot_name} takes {slot.least} to {slot.most} columns, not {len(columns)}"
                    )
                if len(set(columns)) != len(columns):
                    raise InputError(f"{name}: {slot_name} names a column twice")
        for role_name, role in self.roles.items():
            count = sum(member.role == role_name for member in job.members.values())
            if not role.least <= count <= role.most:
                raise InputError(f"{self.name} takes {role.least} to {role.most} of role {role_name}, not {count}")


def _has_default(field: "Field[Any]") -> bool:
    return not (field.default is MISSING and field.default_factory is MISSING)


def describe_params(spec: Spec[Any]) -> dict[str, Any]:
    """The JSON schema of a protocol's parameters, for help texts and forms."""
    from pydantic import TypeAdapter

    return TypeAdapter(spec.params).json_schema()


__all__ = [
    "Estimate",
    "Outcome",
    "Party",
    "Progress",
    "Role",
    "Rows",
    "Slot",
    "Spec",
    "describe_params",
    "no_progress",
]
