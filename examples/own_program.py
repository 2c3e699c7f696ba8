"""A researcher's own program on shares, its parties real nodes on this machine: spawned processes, mutual TLS."""

import hashlib
import tempfile
from pathlib import Path

import pyarrow as pa

from mpc.job import Job, Member
from parties.sandbox import sandbox

PROGRAM = '''
from mpc.sharing.aggregates import quantiles


def program(engine, table):
    """How many customers owe more at cn than hk allows, and the median of what they owe in all, both to hk."""
    rows = engine.announce("hk", table.num_rows if engine.name == "hk" else None, most=10**6)
    at = {}
    for name in ("hk", "cn"):
        own = table["owed"].to_numpy() if engine.name == name else None
        at[name] = engine.share(name, own, shape=(rows,), low=0, high=10**6)
    over = engine.open_to("hk", (at["cn"] > at["hk"]).sum())
    median = engine.open_to("hk", quantiles(engine, at["hk"] + at["cn"], [0.5]))
    return {"over": [int(over)], "median": median} if engine.name == "hk" else None
'''

job = Job(
    protocol="share.program",
    members={name: Member("party", "limits", {"column": ("owed",)}) for name in ("hk", "cn")},
    receivers=("hk",),
    params={"program": hashlib.sha256(PROGRAM.encode()).hexdigest()},
    purpose="research",
)
tables = {"hk": pa.table({"owed": [200, 350, 90, 500]}), "cn": pa.table({"owed": [180, 400, 10, 510]})}

with sandbox("hk", "cn") as parties, tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "limits.py"
    file.write_text(PROGRAM)
    for name, table in tables.items():
        parties[name].node.add_dataset("limits", table, key=["owed"])
        parties[name].node.add_program("limits", file)  # what an operator does after reading it
    parties.allow(job)
    print("hk learned", parties.run(job)["hk"].to_pydict())
