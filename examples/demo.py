"""The main job: three institutions compute together, and every answer is compared with the plain one.

Run it with `make demo` or `python -m examples.demo`. It starts three nodes on this machine, needs no input, leaves
nothing behind, and ends with 1 if anything differs from what plain Python finds on the pooled data.
"""

import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from examples import default_model as model
from examples.customers import AGE_BANDS, cn_bank_table, hk_bank_table, institutions, payments_table
from examples.showing import Demo, agree, run
from examples.wealth_report import wealth_report
from mpc.federated.jobs import prediction_job
from mpc.job import Job, Member
from parties.evidence.verify import BadEvidence, cross_check, verify
from parties.identity.keys import format_fingerprint
from parties.sandbox import sandbox

SMALLEST_GROUP = 20
PURPOSE = "one wealth report for customers of both banks"
NAMES = ("hk-bank", "cn-bank", "payments")


def main() -> int:
    """Run all steps; 0 if every answer agreed."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    started = time.monotonic()
    who = institutions()
    console.print("Starting three nodes, each a process with its own keys and its own data ...")
    with sandbox(*NAMES) as parties:
        demo = Demo(console, parties, who)
        meet(demo)
        match_customers(demo)
        joint_statistics(demo)
        wealth_report(demo)
        joint_model(demo)
        refuse(demo)
        verify_evidence(demo)
    console.print()
    if demo.wrong:
        console.print(f"[bold red]{len(demo.wrong)} answers differ from the truth:[/] {', '.join(demo.wrong)}")
        return 1
    seconds = time.monotonic() - started
    console.print(
        f"[bold green]All {demo.right} checks agree with the truth.[/] Nothing is left behind. ({seconds:.0f} s)"
    )
    return 0


def meet(demo: Demo) -> None:
    """Each institution registers its own data in its own node."""
    nodes, who = demo.nodes, demo.who
    nodes["hk-bank"].add_dataset("customers", hk_bank_table(who), ["id_document", "birth_year"])
    nodes["cn-bank"].add_dataset("clients", cn_bank_table(who), ["certificate", "born"])
    nodes["payments"].add_dataset("accounts", payments_table(who), ["account"])
    rows = []
    for name, node in nodes.items():
        (dataset,) = node.datasets()
        process = str(demo.parties[name].process.pid)
        rows.append(
            (name, process, dataset.name, f"{dataset.rows:,}", format_fingerprint(node.fingerprint)[:19] + " ...")
        )
    demo.table("The parties", ("Party", "Process", "Dataset", "Rows", "Fingerprint of its identity"), rows, ["Rows"])


def match_customers(demo: Demo) -> None:
    """Private set intersection of the two banks on document and birth year."""
    demo.step(
        "1. Which customers do the two banks share?",
        "Each bank learns which of its own customers the other also has, and nothing about the others but how many\n"
        "there are. They write documents differently: A123456(7) in Hong Kong, a-123 456-7 on the mainland.",
    )
    job = Job(
        "psi.ecdh",
        {
            "hk-bank": Member(
                "receiver", "customers", {"key": ("id_document", "birth_year"), "output": ("credit_limit",)}
            ),
            "cn-bank": Member("sender", "clients", {"key": ("certificate", "born"), "output": ("credit_limit",)}),
        },
        receivers=("hk-bank", "cn-bank"),
        params={"normalisation": ("national_id/1", "integer/1"), "min_result": 100},
        purpose=PURPOSE,
    )
    agree(demo, job)
    results = run(demo, job)
    common = demo.who.common
    rows = []
    for name, owner, document in (
        ("hk-bank", demo.who.hk_bank, hk_bank_table(demo.who)["id_document"]),
        ("cn-bank", demo.who.cn_bank, cn_bank_table(demo.who)["certificate"]),
    ):
        truth = {
            written for customer, written in zip(owner, document.to_pylist(), strict=True) if customer.number in common
        }
        learned = results[name].column(0).to_pylist()
        mark = demo.check(f"customers that {name} shares", sorted(learned), sorted(truth))
        rows.append((name, f"{len(learned):,} of its own {len(owner):,}", f"{len(truth):,}", mark))
    demo.table("What each bank learned", ("Party", "Customers it shares", "In the pooled data", ""), rows)
    demo.console.print(
        f"{len(demo.who.mistyped)} shared customers have a mistyped birth year at cn-bank and "
        f"{len(demo.who.undocumented)} no document: they match nothing, as they should."
    )


def joint_statistics(demo: Demo) -> None:
    """Secret-shared statistics of all three, with small groups suppressed."""
    demo.step(
        "2. Credit limits and defaults of all three together, by age",
        "Each party's figures are masked before they leave it; only sums over all three can be read. A group of less\n"
        f"than {SMALLEST_GROUP} rows is left out. Limits are in New Taiwan dollars; customers of two count twice.",
    )
    columns = {"group": ("age_band",), "value": ("credit_limit", "defaulted")}
    datasets = {"hk-bank": "customers", "cn-bank": "clients", "payments": "accounts"}
    job = Job(
        "sum.masked",
        {name: Member("party", dataset, columns) for name, dataset in datasets.items()},
        receivers=NAMES,
        params={
            "values": [
                {"name": "limit", "lower": "0", "upper": "1000000"},
                {"name": "defaults", "lower": "0", "upper": "1"},
            ],
            "groups": list(AGE_BANDS),
            "statistics": ["count", "sum", "mean", "variance"],
            "minimum_group": SMALLEST_GROUP,
        },
        purpose="quarterly risk statistics",
    )
    agree(demo, job)
    results = run(demo, job)
    for name in NAMES:
        demo.check(f"the table that {name} received", results[name], results["hk-bank"])
    rows = [compare_band(demo, row) for row in results["hk-bank"].to_pylist()]
    headers = ("Age", "Rows", "Mean limit", "Variance of limits", "Defaults", "")
    demo.table("What each party learned", headers, rows, headers[1:5])


def compare_band(demo: Demo, row: Mapping[str, Any]) -> Sequence[str]:
    """A row of the table, compared with the pooled data."""
    band = row["group"]
    pooled = [customer for customer in demo.who.everybody if customer.age_band == band]
    if len(pooled) < SMALLEST_GROUP:
        hidden = row["suppressed"] and all(row[name] is None for name in ("rows", "limit_sum", "defaults_sum"))
        return band, *["suppressed"] * 4, demo.check(f"age {band}", hidden, True)
    limits = [customer.limit for customer in pooled]
    truth = (len(pooled), statistics.mean(limits), statistics.variance(limits), sum(c.defaulted for c in pooled))
    learned = (row["rows"], row["limit_mean"], row["limit_variance"], row["defaults_sum"])
    mark = demo.check(f"age {band}", [float(each) for each in learned], [float(each) for each in truth])
    return band, *(f"{each:,.0f}" for each in learned), mark


def joint_model(demo: Demo) -> None:
    """Boosted trees over the columns of hk-bank and payments, judged on other people than they were trained on."""
    demo.step(
        "4. A default model of a bank and a payment institution",
        "hk-bank knows limit, age, education and who defaulted, payments how people pay. They train boosted trees on\n"
        "both parties' columns under Paillier encryption; each ends with its own part, and neither can predict alone.",
    )
    last, this = model.periods()
    for name, datasets in ((model.BANK, (last.bank, this.bank)), (model.PAYMENTS, (last.payments, this.payments))):
        for dataset, table in zip(model.DATASETS[name], datasets, strict=True):
            demo.nodes[name].add_dataset(dataset, table, ["ID"])
    training = model.training()
    agree(demo, training)
    run(demo, training)
    now = {name: datasets[1] for name, datasets in model.DATASETS.items()}
    prediction = prediction_job(training, [model.BANK], datasets=now, output={model.BANK: [model.LABEL]})
    agree(demo, prediction)
    scores = run(demo, prediction)[model.BANK]
    both = (*model.BANK_FEATURES, *model.PAYMENTS_FEATURES)
    alone, pooled = (model.plain_auc(last.common, this.common, each) for each in (model.BANK_FEATURES, both))
    together = model.auc(scores[model.LABEL].to_numpy(), scores["probability"].to_numpy())
    better = demo.check("the joint model against the bank's own", together > alone + 0.1, True)
    same = demo.check("the joint model against that on pooled data", abs(together - pooled) < 0.01, True)
    rows = [
        ("hk-bank alone", ", ".join(model.BANK_FEATURES), f"{alone:.3f}", ""),
        ("hk-bank and payments by Sealane", "all, which stayed where they are", f"{together:.3f}", better),
        ("scikit-learn on the pooled data", ", ".join(both), f"{pooled:.3f}", same),
    ]
    title = f"Who tells defaulters best among {scores.num_rows:,} customers not trained on"
    demo.table(title, ("Model", "Columns", "AUC", ""), rows, ["AUC"])


def refuse(demo: Demo) -> None:
    """A job that nobody granted is refused, and the refusal says what would allow it."""
    demo.step(
        "5. A job that policy refuses",
        "payments asks hk-bank which customers they share, for marketing. hk-bank never granted that:\n"
        "its node refuses. payments learns no more than that, hk-bank's operator sees why and what would allow it.",
    )
    hk_bank, payments = demo.nodes["hk-bank"], demo.nodes["payments"]
    job = Job(
        "psi.ecdh",
        {
            "payments": Member("receiver", "accounts", {"key": ("account",)}),
            "hk-bank": Member("sender", "customers", {"key": ("id_document",)}),
        },
        receivers=("payments",),
        purpose="marketing",
    )
    payments.grant("hk-bank", job.protocol, "accounts", ["account"], purpose=job.purpose, receivers=job.receivers)
    payments.propose(job)
    for name in job.members:
        demo.parties.await_receipt(name, job.id)
    told, seen = payments.job(job.id), hk_bank.job(job.id)
    demo.console.print(f"[bold]payments is told[/]  {told.state}: {told.reason}")
    demo.console.print(f"[bold]hk-bank sees[/]      {seen.detail}\n{seen.hint}", soft_wrap=True)
    demo.check("what payments is told", (told.state, told.detail), ("denied", ""))
    command = seen.hint.splitlines()[-1]
    sealane = [sys.executable, "-m", "parties.cli", "--home", str(hk_bank.home.path)]
    subprocess.run([*sealane, *shlex.split(command)[1:]], check=True, capture_output=True)
    mark = demo.check("the command that would allow it", hk_bank.preview(job.id).refusal, None)
    demo.console.print(f"That very command, run at hk-bank, would let a person approve such a job: {mark}")


def verify_evidence(demo: Demo) -> None:
    """Every node's log is exported and verified without the node; a changed copy is caught."""
    demo.step(
        "6. Proof of what happened",
        "Each node exports its signed log. Anybody who knows the fingerprints verifies it, without the nodes.",
    )
    trusted = {node.fingerprint for node in demo.nodes.values()}
    with tempfile.TemporaryDirectory(prefix="sealane-demo-") as folder:
        files = {name: Path(folder) / f"{name}.jsonl" for name in demo.nodes}
        rows = []
        for name, node in demo.nodes.items():
            files[name].write_bytes(b"".join(node.export_evidence()))
            with files[name].open("rb") as file:
                report = verify(file, trusted)
            entries = len(list(node.evidence()))
            mark = demo.check(
                f"evidence of {name}", (report.name, report.entries, report.strangers), (name, entries, ())
            )
            rows.append(
                (
                    name,
                    str(report.entries),
                    str(report.receipts),
                    f"entry {report.head[0]}: {report.head[1][:16]}",
                    mark,
                )
            )
        demo.table(
            "Verified offline", ("Party", "Entries", "Receipts", "Head to keep", ""), rows, ("Entries", "Receipts")
        )
        with files["hk-bank"].open("rb") as ours, files["cn-bank"].open("rb") as theirs:
            shared = cross_check(ours, theirs, trusted)
        mark = demo.check("receipts of both banks", shared, 3)
        demo.console.print(f"hk-bank's log knows all {shared} receipts that cn-bank holds with its signature: {mark}")
        tamper(demo, files["cn-bank"], trusted)


def tamper(demo: Demo, path: Path, trusted: set[str]) -> None:
    """Claim afterwards that cn-bank had registered fewer rows."""
    lines = path.read_bytes().splitlines(keepends=True)
    bodies = [json.loads(line).get("body", {}) for line in lines]
    index = next(i for i, body in enumerate(bodies) if body.get("kind") == "dataset_registered")
    lines[index] = lines[index].replace(b'"rows":3000', b'"rows":2000')
    path.write_bytes(b"".join(lines))
    caught = 0
    try:
        with path.open("rb") as file:
            verify(file, trusted)
    except BadEvidence as error:
        caught = error.entry
        demo.console.print(f"In a copy, one number of one entry was changed. The verifier says: [bold]{error}[/]")
    mark = demo.check("the entry that was changed", caught, bodies[index]["seq"])
    demo.console.print(f"The entry it names is the one that was changed: {mark}")


if __name__ == "__main__":
    raise SystemExit(main())
