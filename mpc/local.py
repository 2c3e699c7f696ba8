"""Run a whole job in one process, a thread a party: how a researcher starts, and how protocols are tested."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mpc.channel import Channel, MemoryPipe, MessageChannel, Pipe, memory_pipes
from mpc.errors import ChannelError, InputError
from mpc.job import Job
from mpc.questions import Question
from mpc.registry import get
from mpc.rng import Rng, system_rng
from mpc.session import SESSION_BYTES, run_role
from mpc.spec import Outcome, Progress, no_progress
from mpc.tables import as_arrow

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.sharing.engine import Engine

T = TypeVar("T")


def run_job(
    job: Job,
    tables: Mapping[str, Any],
    *,
    models: Mapping[str, bytes] | None = None,
    program: bytes = b"",
    questions: Iterable[Question] = (),
    rng: Rng = system_rng,
    progress: Progress = no_progress,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, Outcome]:
    """Run `job` with every party in this process; gives each party's outcome by name.

    `tables` maps each member to a table (Arrow, pandas or polars) that has the columns the job names for it; `models`
    each member to its part of the model that the job uses, if it uses one: `Outcome.model` of the job that trained it.
    `program` is the text of the program that it runs, if it runs one (see `mpc.sharing.program`).
    `questions` are those of the party that asks while the job runs, if the protocol has one (see `Spec.asks`). `wrap`
    is as in `run_parties`. Raises what the first party to fail raised.
    """
    spec = get(job.protocol)
    asking = spec.asks(job, spec.parse(job))
    if set(tables) != set(job.members):
        raise InputError(f"tables are needed for exactly {', '.join(job.members)}")
    slots = {name: _slots(job, name, as_arrow(table)) for name, table in tables.items()}
    session = rng(SESSION_BYTES)

    def part(name: str) -> Callable[[Mapping[str, Channel]], Outcome]:
        model = (models or {}).get(name, b"")
        own = questions if name == asking else ()
        return lambda peers: run_role(
            spec,
            job,
            name,
            slots[name],
            peers,
            rng,
            progress,
            session,
            model=model,
            questions=own,
            program=program,
        )

    return run_parties({name: part(name) for name in job.members}, wrap=wrap)


def run_program(
    program: "Callable[[Engine], T]",
    parties: Sequence[str],
    *,
    helper: str = "",
    verified: bool = False,
    guests: Sequence[str] = (),
    rng: Rng = system_rng,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, T]:
    """Run a program on secret-shared arrays with every party in this process; gives each party's result by name.

    `parties` are two or three that compute; `helper` names another one that deals correlated randomness to two.
    With `verified`, three parties check each other (see `mpc.sharing.verified`). `guests` are others that bring values
    to three and are told what these open.
    """
    from mpc.sharing.engine import help_others, start

    session = rng(SESSION_BYTES)
    label = b"program"

    def compute(name: str) -> Callable[[Mapping[str, Channel]], T]:
        def part(peers: Mapping[str, Channel]) -> T:
            engine = start(
                name, peers, session=session, label=label, rng=rng, helper=helper, verified=verified, guests=guests
            )
            result = program(engine)
            engine.finish()
            return result

        return part

    def assist(peers: Mapping[str, Channel]) -> None:
        help_others(helper, peers, session=session, label=label, rng=rng)

    parts: dict[str, Callable[[Mapping[str, Channel]], Any]] = {name: compute(name) for name in [*parties, *guests]}
    if helper:
        parts[helper] = assist
    results = run_parties(parts, wrap=wrap)
    return {name: results[name] for name in [*parties, *guests]}


def run_parties(
    parts: Mapping[str, Callable[[Mapping[str, Channel]], T]],
    *,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, T]:
    """Run one function a party, each in a thread, with a channel from each to each other; gives their results.

    `wrap(name, peer, pipe)` may put a counting, recording or meddling pipe around an end. When a party raises, its
    channels are closed, which ends the others, and the first error that is not merely such an ending is raised.
    """
    ends: dict[tuple[str, str], MemoryPipe] = {}
    names = list(parts)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            ends[a, b], ends[b, a] = memory_pipes()
    results: dict[str, T] = {}
    errors: list[BaseException] = []

    def play(name: str) -> None:
        mine = {peer: pipe for (owner, peer), pipe in ends.items() if owner == name}
        try:
            results[name] = parts[name]({peer: MessageChannel(wrap(name, peer, pipe)) for peer, pipe in mine.items()})
        except BaseException as error:  # handed to the caller's thread below
            errors.append(error)
        finally:
            for pipe in mine.values():
                pipe.close()

    threads = [threading.Thread(target=play, args=(name,), name=name) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if not isinstance(error, ChannelError)), errors[0])
    return {name: results[name] for name in names}


def _slots(job: Job, name: str, table: "pa.Table") -> "dict[str, pa.Table]":
    for columns in job.members[name].columns.values():
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            raise InputError(f"{name}: its table has no column {missing[0]!r}, only {', '.join(table.column_names)}")
    return {slot: table.select(list(columns)) for slot, columns in job.members[name].columns.items()}
