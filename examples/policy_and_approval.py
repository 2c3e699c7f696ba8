"""Deny by default: a job needs a grant of each party, and a person who approves exactly what was proposed."""

import pyarrow as pa

from mpc.errors import PolicyDenied
from mpc.job import Job, Member
from parties.sandbox import sandbox

job = Job(
    protocol="psi.ecdh_cardinality",
    members={
        "bank": Member("receiver", "cards", {"key": ("id",)}),
        "telecom": Member("sender", "subscribers", {"key": ("id",)}),
    },
    receivers=("bank",),
    purpose="common customers",
)
rows = pa.table({"id": [str(i) for i in range(300)]})

with sandbox("bank", "telecom") as parties:
    bank, telecom = parties["bank"].node, parties["telecom"].node
    bank.add_dataset("cards", rows, key=["id"])
    telecom.add_dataset("subscribers", rows, key=["id"])
    try:
        bank.propose(job)
    except PolicyDenied as refusal:
        print(f"bank's own policy: {refusal}\n{refusal.hint}")

    terms = {"columns": ["id"], "purpose": job.purpose, "receivers": ["bank"], "max_uses": 1}
    bank.grant("telecom", job.protocol, "cards", **terms)
    telecom.grant("bank", job.protocol, "subscribers", **terms)
    bank.propose(job)
    parties.await_job("telecom", job.id)

    preview = telecom.preview(job.id)
    for name, learns in preview.reveals.items():
        print(f"{name} would learn {learns}")
    telecom.approve(job.id, preview.digest)
    bank.wait(job.id, timeout_s=60)
    print("bank learned", bank.result(job.id).to_pylist()[0])
