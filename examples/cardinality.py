"""How many customers do two parties share, without either learning which?"""

import polars as pl

from mpc.job import Job, Member
from mpc.local import run_job

bank = pl.DataFrame({"id": [f"C{i:04}" for i in range(600)]})
telecom = pl.DataFrame({"id": [f"C{i:04}" for i in range(450, 1000)]})

job = Job(
    protocol="psi.ecdh_cardinality",
    members={
        "bank": Member("receiver", columns={"key": ("id",)}),
        "telecom": Member("sender", columns={"key": ("id",)}),
    },
    receivers=("bank", "telecom"),
    params={"min_result": 100},
    purpose="is a campaign worth it?",
)
outcomes = run_job(job, {"bank": bank, "telecom": telecom})

for name, outcome in outcomes.items():
    print(name, outcome.table.to_pylist()[0])
