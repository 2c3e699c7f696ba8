"""Mean and variance of a column over three parties' rows, by group, without a join; small groups are suppressed."""

from pathlib import Path

import pandas as pd

from mpc.job import Job, Member
from mpc.local import run_job

cards = pd.read_csv(Path(__file__).parent / "data" / "uci_credit_card.csv")
schooling = {1: "graduate school", 2: "university", 3: "high school", 4: "other"}
cards = pd.DataFrame(
    {"school": cards["EDUCATION"].map(schooling), "limit": cards["LIMIT_BAL"].astype(int)},
).dropna()
tables = {"north": cards[:8000], "centre": cards[8000:15000], "south": cards[15000:]}

job = Job(
    protocol="sum.masked",
    members={name: Member("party", columns={"group": ("school",), "value": ("limit",)}) for name in tables},
    receivers=("north", "south"),
    params={
        "values": [{"name": "limit", "lower": "0", "upper": "1000000"}],
        "groups": list(schooling.values()),
        "statistics": ["count", "mean", "variance"],
        "minimum_group": 200,
    },
    purpose="credit limits by schooling",
)
outcomes = run_job(job, tables)

print(outcomes["south"].table.to_pandas().to_string(index=False))
print("centre was left with", dict(outcomes["centre"].facts))
truth = cards.groupby("school")["limit"].mean()
print("pooled mean, university:", truth["university"])
