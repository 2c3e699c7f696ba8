"""What happened, provable afterwards: export a node's log, verify it elsewhere, and see a forgery fail."""

import io

import pyarrow as pa

from mpc.job import Job, Member
from parties.evidence.verify import BadEvidence, verify
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
with sandbox("bank", "telecom") as parties:
    parties["bank"].node.add_dataset("cards", pa.table({"id": ["1", "2", "3"]}), key=["id"])
    parties["telecom"].node.add_dataset("subscribers", pa.table({"id": ["2", "3", "4"]}), key=["id"])
    parties.allow(job)
    parties.run(job)
    receipt = parties.await_receipt("bank", job.id)
    exported = b"".join(parties["bank"].node.export_evidence())
    trusted = {party.node.fingerprint for party in parties.values()}  # in earnest: learned from each party

print("all parties signed:", receipt.statement.outcome, "among", ", ".join(receipt.statement.parties))
report = verify(io.BytesIO(exported), trusted)
print(f"the log of {report.name} holds: {report.entries} entries, {report.receipts} receipt")

try:
    verify(io.BytesIO(exported.replace(b'"rows":3', b'"rows":4')), trusted)
except BadEvidence as error:
    print("a changed copy:", error)

lines = exported.splitlines(keepends=True)
try:
    verify(io.BytesIO(b"".join(lines[:5] + lines[6:])), trusted)
except BadEvidence as error:
    print("a copy without one entry:", error)
