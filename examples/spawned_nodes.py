"""The same matching between two real nodes on this machine: own processes, own keys, mutual TLS."""

import pyarrow as pa

from mpc.job import Job, Member
from parties.sandbox import sandbox

bank = pa.table({"id": [f"C{i:04}" for i in range(600)], "limit": [1000 * i for i in range(600)]})
telecom = pa.table({"customer": [f"c{i:04}" for i in range(500, 1000)]})

job = Job(
    protocol="psi.ecdh",
    members={
        "bank": Member("receiver", "cards", {"key": ("id",), "output": ("limit",)}),
        "telecom": Member("sender", "subscribers", {"key": ("customer",)}),
    },
    receivers=("bank",),
    params={"normalisation": ("text/1",), "min_result": 50},
    purpose="common customers",
)

with sandbox("bank", "telecom") as parties:
    parties["bank"].node.add_dataset("cards", bank, key=["id"])
    parties["telecom"].node.add_dataset("subscribers", telecom, key=["customer"])
    parties.allow(job)  # each grants its part; here without a person's approval
    results = parties.run(job)
    table = results["bank"]
    print(f"bank learned that {table.num_rows} of its customers are telecom's too, {table['id'][0]} the first")
    print("telecom was left with", dict(parties["telecom"].node.job(job.id).facts))
