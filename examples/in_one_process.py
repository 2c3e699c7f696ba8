"""Private set intersection without any node: both parties in this process, to try out keys and parameters."""

import pandas as pd
import polars as pl

from mpc.job import Job, Member
from mpc.local import run_job

# Tables may be pandas, polars or Arrow. The parties write identity numbers in different ways.
hk_bank = pd.DataFrame({"document": ["A123456(7)", "B765432(1)", "C111222(3)"], "limit": [200, 350, 90]})
cn_bank = pl.DataFrame({"id_number": ["c111 222-3", "D000111(4)", "a-123456-7"]})

job = Job(
    protocol="psi.ecdh",
    members={
        "hk-bank": Member("receiver", columns={"key": ("document",), "output": ("limit",)}),
        "cn-bank": Member("sender", columns={"key": ("id_number",)}),
    },
    receivers=("hk-bank",),
    params={"normalisation": ("national_id/1",)},
    purpose="common customers",
)
outcomes = run_job(job, {"hk-bank": hk_bank, "cn-bank": cn_bank})

print(outcomes["hk-bank"].table.to_pandas())
print("hk-bank was left with", dict(outcomes["hk-bank"].facts))
print("cn-bank was left with", dict(outcomes["cn-bank"].facts))
