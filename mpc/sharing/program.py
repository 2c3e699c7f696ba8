"""A researcher's own program on secret-shared arrays, over what the members have registered.

The program is a Python file that the operator of every member but the helper has read and registered (`sealane program
add`); the job names it by its SHA-256, and no code comes from a peer. It defines `program(engine, table)`: `engine` is
an `Engine` of `mpc.sharing.engine`, `table` an Arrow table of the own columns. At a receiver it returns columns by
name, of one length; elsewhere None.

Output:   what the program opens, to whom it opens it; receivers keep what it returns as the job's result.
Leaks:    what the program opens and announces, shapes, and whether it failed at a member. No minimum group or result is
          enforced: that is the program's to do, and what it does is for every operator to judge from its text.
Security: that of the engine for these members (docs/security-sharing.md): semi-honest, or with `verified` any one
          party may cheat. The program runs in the worker with all rights of the node's user: it can read that user's
          files, the node's keys among them, and use the network. Nothing confines it but that its operator has read it.
Cost:     the program's. `plan` of `mpc.sharing.plan` counts it; a job shows what its proposer declares.
Source:   as `mpc.sharing.engine`.
"""

import ast
import threading
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, StrictBool, StrictInt, StringConstraints, with_config

from mpc.errors import InputError, ProgramError, SealaneError
from mpc.job import Job
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.sharing.engine import Engine

    Program = Callable[[Engine, pa.Table], Any]

MAX_PROGRAM_BYTES = 256 * 2**10
MAX_COLUMNS = 100
_FUNCTION = "program"
_FILE = "<program>"
_PARSING = threading.Lock()  # some releases of Python 3.11 count the depth of syntax trees for all threads at once
_BASE_BYTES = 150 * 2**20  # interpreter, numpy and Arrow
_SETUP_BYTES = 200 * 2**10  # seeds, base transfers, what a check costs however little is checked
_SETUP_SECONDS = 0.1
_HINT = "see what the program does there; the others hear only that it failed"


@with_config(ConfigDict(allow_inf_nan=False))
@dataclass(frozen=True)
class Params:
    """`program` is the SHA-256 of the file, hexadecimal, as `sealane program list` shows it.

    With `verified`, three parties check each other. `seconds` and `megabytes` are what the proposer declares that each
    party's part takes and sends; 0: it declares nothing, and the estimate holds for an empty program only.
    """

    program: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    verified: StrictBool = False
    seconds: Annotated[float, Field(ge=0, le=10**7)] = 0.0
    megabytes: Annotated[StrictInt, Field(ge=0, le=10**7)] = 0


def check_source(source: bytes) -> str:
    """The text of a program; raises `InputError` for one that cannot be run, or that does not read as it runs.

    Control characters and marks that change how text is displayed (bidirectional ones among them) are refused: what
    protects a party is that somebody has read the program.
    """
    if len(source) > MAX_PROGRAM_BYTES:
        raise InputError(f"a program of {len(source)} bytes is too long (at most {MAX_PROGRAM_BYTES})")
    try:
        text = source.decode()
    except UnicodeDecodeError:
        raise InputError("a program is text in UTF-8") from None
    for number, line in enumerate(text.split("\n"), 1):
        for character in line.removesuffix("\r"):
            if character != "\t" and unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp"):
                raise InputError(
                    f"line {number} of the program has a character U+{ord(character):04X}, which is not displayed",
                    hint="write it as an escape, so that the program reads as it runs",
                )
    try:
        with _PARSING:
            tree = ast.parse(text, _FILE)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise InputError(f"the program is not Python{line}") from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == _FUNCTION]
    if not functions or len(functions[-1].args.posonlyargs + functions[-1].args.args) != 2:
        raise InputError(f"the program does not define `def {_FUNCTION}(engine, table)`")
    return text


def run(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A computing party's part, or a guest's: run the program, and check what it returns here."""
    import pyarrow as pa

    from mpc.sharing.engine import start

    text = check_source(party.program)
    own = tables["column"] if "column" in tables else pa.table({})
    engine = start(
        party.name,
        party.peers,
        session=party.session,
        label=b"share.program",
        rng=party.rng,
        helper=next(iter(_of_role(party.job, "helper")), ""),
        verified=party.params.verified,
        guests=_of_role(party.job, "guest"),
    )
    party.progress("run program", 0, 1)
    try:
        returned = _load(text)(engine, own)
    except (Exception, SystemExit) as error:
        line, raised_there = _place(error.__traceback__)
        if isinstance(error, MemoryError) or (isinstance(error, SealaneError) and not raised_there):
            raise
        raise ProgramError(f"the program raised {type(error).__name__} in line {line}", hint=_HINT) from None
    engine.finish()
    table = _result(returned, party.name, receives=party.name in party.job.receivers)
    party.progress("run program", 1, 1)
    return Outcome(table, {"own_rows": own.num_rows})


def assist(party: Party[Params], _tables: "Mapping[str, pa.Table]") -> Outcome:
    """The helper's part: deal correlated randomness until the program has ended."""
    from mpc.sharing.engine import help_others

    help_others(party.name, party.peers, session=party.session, label=b"share.program", rng=party.rng)
    return Outcome(None)


def _of_role(job: Job, role: str) -> tuple[str, ...]:
    return tuple(name for name, member in job.members.items() if member.role == role)


def _load(text: str) -> "Program":
    """The function that a checked program defines; what stands outside it runs now."""
    names: dict[str, Any] = {"__name__": _FUNCTION}
    # Its text is what the operator registered here after reading it; `run_role` has compared its digest with the job's.
    exec(compile(text, _FILE, "exec", dont_inherit=True), names)  # noqa: S102
    function: Program = names[_FUNCTION]
    return function


def _place(trace: TracebackType | None) -> tuple[int, bool]:
    """The last line of the program on the way to an error, and whether it was raised there and not further down."""
    line, there = 0, False
    while trace is not None:
        there = trace.tb_frame.f_code.co_filename == _FILE
        line = trace.tb_lineno if there else line
        trace = trace.tb_next
    return line, there


def _result(returned: Any, name: str, *, receives: bool) -> "pa.Table | None":
    """What the program returned at this party as a table; raises `ProgramError` unless that is what it may return."""
    import pyarrow as pa

    if not receives:
        if returned is not None:
            raise ProgramError(f"the program returned a result at {name}, which is no receiver", hint=_HINT)
        return None
    if not isinstance(returned, Mapping) or not 1 <= len(returned) <= MAX_COLUMNS:
        raise ProgramError(f"a receiver's result is a mapping of 1 to {MAX_COLUMNS} columns by name", hint=_HINT)
    if not all(isinstance(column, str) and column for column in returned):
        raise ProgramError("the names of a result's columns are text", hint=_HINT)
    columns = {column: _column(column, values) for column, values in returned.items()}
    if len({len(values) for values in columns.values()}) != 1:
        lengths = ", ".join(f"{column}: {len(values)}" for column, values in columns.items())
        raise ProgramError(f"the result's columns have different lengths ({lengths})", hint=_HINT)
    return pa.table(columns)


def _column(name: str, values: Any) -> "pa.Array":
    """Numbers, truth values, dates or text."""
    import pyarrow as pa
    from pyarrow import types

    from mpc.sharing.values import Bits, Secret

    if isinstance(values, Secret | Bits):
        raise ProgramError(f"column {name!r} of the result is still secret: the program must open it", hint=_HINT)
    try:
        column = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # their words may hold values
        raise ProgramError(
            f"column {name!r} of the result is no array of one dimension and type",
            hint=f"a single value is [value]; {_HINT}",
        ) from None
    kinds = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_string, types.is_date)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise ProgramError(f"column {name!r} of the result is {column.type}, not numbers, dates or text", hint=_HINT)
    return column


def reveals(job: Job, params: Params) -> dict[str, str]:
    """One sentence a party: the text of the program says the rest."""
    what = f"whatever the program {params.program} opens to it, which its text says; no minimum group is enforced"
    helpers = _of_role(job, "helper")
    nothing = "the sizes and kinds of the program's steps, and no value"
    return {name: nothing if name in helpers else what for name in job.members}


def estimate(job: Job, params: Params, _rows: Mapping[str, int], _name: str) -> Estimate:
    """What the proposer declares; nobody's node knows what a program costs before it has run."""
    declared = params.megabytes * 10**6
    setup = _SETUP_BYTES * (len(job.members) - 1)
    return Estimate(
        seconds=_SETUP_SECONDS + params.seconds,
        sent_bytes=setup + declared,
        received_bytes=setup + declared,
        peak_bytes=_BASE_BYTES + declared,
    )


def _runs(job: Job, params: Params, name: str) -> str:
    return "" if job.members[name].role == "helper" else params.program


def check(job: Job, params: Params) -> None:
    """Refuse members that cannot compute together."""
    parties, helpers, guests = (len(_of_role(job, role)) for role in ("party", "helper", "guest"))
    if helpers and (parties != 2 or guests):
        raise InputError("a helper helps two parties, without guests")
    if guests and parties != 3:
        raise InputError("guests bring values to three parties")
    if params.verified and parties != 3:
        raise InputError("only three parties can verify each other", hint="take three parties, or leave `verified` out")
    receiving = sorted(set(_of_role(job, "helper")) & set(job.receivers))
    if receiving:
        raise InputError(f"{receiving[0]} is the helper and can receive nothing")


_OWN = {"column": Slot("any", 0, MAX_COLUMNS, "columns of the table that the program is given")}

SPEC = Spec(
    name="share.program",
    version=1,
    summary="Run a researcher's own program on secret-shared arrays, which each operator has read and registered.",
    params=Params,
    roles={
        "party": Role(run, _OWN, least=2, most=3),
        "helper": Role(assist, {}, least=0, most=1),
        "guest": Role(run, _OWN, least=0, most=47),
    },
    reveals=reveals,
    estimate=estimate,
    minimum_result=lambda _params: 0,
    program=_runs,
    check=check,
)
