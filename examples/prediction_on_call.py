"""A model of a bank and a telecom, kept ready by both: the bank asks about customers while they wait at the counter."""

import numpy as np
import pyarrow as pa

from mpc.federated.jobs import serving_job
from mpc.job import Job, Member
from parties.sandbox import sandbox

rng = np.random.default_rng(7)
income, minutes = rng.normal(size=500), rng.normal(size=500)
ids = [f"C{i:04}" for i in range(500)]
bank = pa.table({"id": ids, "income": income, "default": (income + minutes < 0).astype(int)})
telecom = pa.table({"customer": ids[100:], "minutes": minutes[100:]})

training = Job(
    protocol="train.boosted_trees",
    members={
        "bank": Member("label_holder", "cards", {"key": ("id",), "label": ("default",), "feature": ("income",)}),
        "telecom": Member("feature_holder", "subscribers", {"key": ("customer",), "feature": ("minutes",)}),
    },
    receivers=("bank",),
    params={"trees": 5, "key_bits": 2048, "encryption": "fast"},
    purpose="default model",
)

with sandbox("bank", "telecom") as parties:
    parties["bank"].node.add_dataset("cards", bank, key=["id"])
    parties["telecom"].node.add_dataset("subscribers", telecom, key=["customer"])
    parties.allow(training)
    parties.run(training)

    serving = serving_job(training, asking="bank", calls=100, rows=200)  # bounds that both parties enforce
    parties.allow(serving)
    node = parties["bank"].node
    node.propose(serving)
    with node.questions(serving.id) as questions:
        for row in questions.ask(["C0123", "C0321", "C0007"]).to_pylist():
            known = "not a customer of both" if row["probability"] is None else f"{row['probability']:.3f}"
            print(row["id"], known)
        questions.finish()
    print("answered:", node.wait(serving.id).facts["predicted_rows"], "rows")
