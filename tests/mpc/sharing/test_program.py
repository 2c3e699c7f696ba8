"""Researchers' programs as a job: whoever may take part, what comes out, and how a program fails."""

import hashlib
from typing import Any

import pyarrow as pa
import pytest

from mpc.errors import InputError, ProgramError
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.sharing.program import MAX_PROGRAM_BYTES, SPEC, check_source
from mpc.spec import Outcome

SUM = b'''
"""How much all owe together, and how many at hk owe more than 250."""


def program(engine, table):
    owners = [name for name in engine.computing if name != "watcher"]
    rows = {name: engine.announce(name, table.num_rows if name == engine.name else None, most=100) for name in owners}
    owed = {
        name: engine.share(
            name, table["owed"].to_numpy() if name == engine.name else None, shape=(rows[name],), low=0, high=1000
        )
        for name in owners
    }
    total = engine.open(engine.concatenate(list(owed.values())).sum())
    over = engine.open((owed["hk"] > 250).sum())
    return {"total": [int(total)], "over": [int(over)]} if engine.name == "hk" else None
'''
OWED = {"hk": [200, 350, 90, 500], "cn": [180, 400], "sg": [7], "id": [1, 2, 3]}


def table_of(name: str) -> pa.Table:
    return pa.table({"owed": OWED[name]}) if name in OWED else pa.table({})


def job_of(source: bytes, roles: dict[str, str], receivers: tuple[str, ...] = ("hk",), **params: Any) -> Job:
    members = {
        name: Member(role, columns={"column": ("owed",)} if name in OWED and role != "helper" else {})
        for name, role in roles.items()
    }
    return Job(
        "share.program", members, receivers, {"program": hashlib.sha256(source).hexdigest(), **params}, "research"
    )


def run(source: bytes, roles: dict[str, str], **job: Any) -> dict[str, Outcome]:
    made = job_of(source, roles, **job)
    return run_job(made, {name: table_of(name) for name in roles}, program=source)


PAIR = {"hk": "party", "cn": "party"}
THREE = PAIR | {"sg": "party"}


@pytest.mark.parametrize(
    ("roles", "params", "total"),
    [
        (PAIR, {}, 1720),
        (PAIR | {"aid": "helper"}, {}, 1720),
        (THREE, {}, 1727),
        (THREE, {"verified": True}, 1727),
        (THREE | {"id": "guest"}, {}, 1733),
        (THREE | {"id": "guest"}, {"verified": True}, 1733),
    ],
    ids=["two", "helper", "three", "verified", "guest", "verified guest"],
)
def test_a_program_computes_what_it_does_in_the_clear(
    roles: dict[str, str], params: dict[str, Any], total: int
) -> None:
    assert total == sum(sum(OWED[name]) for name in roles if name in OWED)
    outcomes = run(SUM, roles, **params)
    assert outcomes["hk"].table is not None
    assert outcomes["hk"].table.to_pydict() == {"total": [total], "over": [2]}
    assert all(outcome.table is None for name, outcome in outcomes.items() if name != "hk")


def test_a_party_without_data_takes_part_and_receives() -> None:
    source = SUM.replace(b'engine.name == "hk"', b'engine.name == "watcher"')
    outcomes = run(source, PAIR | {"watcher": "party"}, receivers=("watcher",))
    assert outcomes["watcher"].table is not None
    assert outcomes["watcher"].table.to_pydict() == {"total": [1720], "over": [2]}


def test_only_the_program_that_the_job_names_is_run() -> None:
    job = job_of(SUM, PAIR)
    tables = {name: table_of(name) for name in PAIR}
    for other in (SUM + b"\n", b""):
        with pytest.raises(InputError, match=f"was not given the program {job.params['program']} that the job runs"):
            run_job(job, tables, program=other)


def returning(expression: str) -> bytes:
    return f"import numpy as np\n\n\ndef program(engine, table):\n    return {expression}\n".encode()


HK = 'if engine.name == "hk" else None'
SHARED = 'engine.share("hk", np.arange(3) if engine.name == "hk" else None, shape=(3,), low=0, high=9)'


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ('{"x": [1]}', "the program returned a result at cn, which is no receiver"),
        ("None", "a receiver's result is a mapping of 1 to 100 columns by name"),
        (f"{{}} {HK}", "a receiver's result is a mapping"),
        (f"[1] {HK}", "a receiver's result is a mapping"),
        (f"{{1: [1]}} {HK}", "the names of a result's columns are text"),
        (f'{{"x": [1], "y": [1, 2]}} {HK}', r"different lengths \(x: 1, y: 2\)"),
        (f'(lambda s: {{"x": s}} {HK})({SHARED})', "column 'x' .* still secret"),
        (f'{{"x": [1, "987654"]}} {HK}', "column 'x' of the result is no array of one dimension and type"),
        (f'{{"x": np.zeros((2, 2))}} {HK}', "column 'x' of the result is no array of one dimension"),
        (f'{{"x": [[1]]}} {HK}', "column 'x' of the result is list"),
        (f'{{"x": 5}} {HK}', "column 'x' of the result is no array of one dimension"),
    ],
)
def test_what_a_program_may_not_return_is_named_without_its_values(expression: str, said: str) -> None:
    with pytest.raises(ProgramError, match=said) as caught:
        run(returning(expression), PAIR)
    assert "987654" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("raise ValueError(f'secret {table}')", "raised ValueError in line 4"),
        ("from mpc.errors import ChannelError\n    raise ChannelError('secret')", "raised ChannelError in line 5"),
        ("return {'x': np.arange(2) @ np.arange(3)}", "raised ValueError in line 4"),
        ("import sys\n    sys.exit('secret')", "raised SystemExit in line 5"),
        ("return open('/secret')", "raised FileNotFoundError in line 4"),
    ],
)
def test_an_exception_of_a_program_is_told_by_type_and_line_alone(lines: str, said: str) -> None:
    source = f"import numpy as np\n\ndef program(engine, table):\n    {lines}\n".encode()
    with pytest.raises(ProgramError) as caught:
        run(source, PAIR)
    assert str(caught.value) == f"the program {said}"
    assert "secret" not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_an_exception_outside_the_function_is_told_alike() -> None:
    with pytest.raises(ProgramError) as caught:
        run(b"X = 1 / 0\ndef program(engine, table):\n    return None\n", PAIR)
    assert str(caught.value) == "the program raised ZeroDivisionError in line 1"


def test_what_the_engine_refuses_is_said_as_the_engine_says_it() -> None:
    source = returning(f"(lambda s: None)({SHARED.replace('high=9', 'high=1')})")
    with pytest.raises(InputError, match="hk has values outside the declared range of 0 to 1"):
        run(source, PAIR)


def test_parties_that_cannot_compute_together_are_refused() -> None:
    for roles, params, said in (
        ({"hk": "party", "aid": "helper"}, {}, "takes 2 to 3 of role party, not 1"),
        (THREE | {"aid": "helper"}, {}, "a helper helps two parties"),
        (PAIR | {"id": "guest"}, {}, "guests bring values to three parties"),
        (PAIR, {"verified": True}, "only three parties can verify each other"),
        (PAIR, {"program": "00"}, "parameters of share.program: program"),
        (PAIR, {"seconds": -1.0}, "parameters of share.program: seconds"),
    ):
        with pytest.raises(InputError, match=said):
            SPEC.parse(job_of(SUM, roles, **params))
    with pytest.raises(InputError, match="aid is the helper and can receive nothing"):
        SPEC.parse(job_of(SUM, PAIR | {"aid": "helper"}, receivers=("aid",)))


def test_a_preview_says_that_the_program_decides_and_prices_what_was_declared() -> None:
    job = job_of(SUM, PAIR | {"aid": "helper"}, seconds=5.0, megabytes=3)
    params = SPEC.parse(job)
    told = SPEC.reveals(job, params)
    assert job.params["program"] in told["hk"]
    assert "no minimum group is enforced" in told["cn"]
    assert "no value" in told["aid"]
    priced, nothing = (
        SPEC.estimate(job, SPEC.parse(each), {}, "hk") for each in (job, job_of(SUM, PAIR | {"aid": "helper"}))
    )
    assert priced.sent_bytes - nothing.sent_bytes == 3_000_000
    assert priced.seconds - nothing.seconds == pytest.approx(5)
    assert [SPEC.program(job, params, name) for name in job.members] == [job.params["program"]] * 2 + [""]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"\xff", "text in UTF-8"),
        (b"def program(engine, table)\n", "not Python in line 1"),
        (b"x = 1\n", "does not define"),
        (b"def program(engine):\n    pass\n", "does not define"),
        (b"class program:\n    pass\n", "does not define"),
        (b"#" * (MAX_PROGRAM_BYTES + 1), "too long"),
        ("def program(e, t):\n    # \u202e hidden\n    pass\n".encode(), r"line 2 .* U\+202E"),
        (b"def program(e, t):\n    # seen\r    return 1\n", r"line 2 .* U\+000D"),
        (b"def program(e, t):\n    pass\n\x0c", r"line 3 .* U\+000C"),
        (b"(" * 5000 + b")" * 5000, "not Python"),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_program_or_reads_otherwise_than_it_runs_is_refused(source: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_source(source)


def test_a_program_with_tabs_and_both_kinds_of_line_ends_is_one() -> None:
    text = "def program(engine, table):\r\n\treturn None  # 客户\n"
    assert check_source(text.encode()) == text
