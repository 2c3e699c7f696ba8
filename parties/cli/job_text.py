"""A job as it is shown: who takes part, what each party learns, what it costs, how it stands."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mpc.errors import InputError
from mpc.job import Job, Member
from parties import budgets, running
from parties.cli.budget_text import budget_document, names, show_budgets
from parties.cli.output import Cell, cell, heading, say, show_facts, show_table
from parties.cli.units import iso_time, show_bytes, show_duration, show_time

if TYPE_CHECKING:
    from parties.jobs.preview import Preview
    from parties.jobs.records import JobRecord
    from parties.node import Node

SHORT = 12  # digits of an id on the screen
_STYLES = {"succeeded": "green", "proposed": "yellow", "failed": "red", "denied": "red", "expired": "red"}


def state_cell(record: "JobRecord") -> Text:
    return cell(record.state, _STYLES.get(record.state, ""))


def initiator(record: "JobRecord") -> str:
    """The name of the party that proposed the job."""
    return next((party.name for party in record.parties if party.fingerprint == record.initiator), record.initiator)


def decisions(record: "JobRecord") -> dict[str, str]:
    """Each party's decision as far as it is known here; whoever proposed the job approved it with that."""
    given = {party.name: party.decision for party in record.parties}
    return given | {name: decision or "approved" for name, decision in given.items() if name == initiator(record)}


def describe_job(job: Job) -> dict[str, Any]:
    """What was or would be proposed, for JSON."""
    return {
        "id": job.id,
        "digest": job.digest,
        "protocol": job.protocol,
        "version": job.version,
        "purpose": job.purpose,
        "params": dict(job.params),
        "members": {name: asdict(member) for name, member in sorted(job.members.items())},
        "receivers": list(job.receivers),
        "deadline": iso_time(job.deadline) if job.deadline else None,
    }


def describe_record(record: "JobRecord") -> dict[str, Any]:
    """The job and how it stands, for JSON."""
    return describe_job(record.job) | {
        "state": str(record.state),
        "ended": record.ended,
        "initiator": initiator(record),
        "decisions": decisions(record),
        "attempt": record.attempt,
        "retries": record.retries,
        "reason": record.reason,
        "detail": record.detail,
        "hint": record.hint,
        "facts": dict(record.facts),
        "has_result": record.result is not None,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
    }


def describe_preview(preview: "Preview", node: "Node") -> dict[str, Any]:
    """What it reveals and costs, for JSON."""
    refusal = preview.refusal
    return {
        "reveals": dict(preview.reveals),
        "rows": dict(preview.rows),
        "estimates": {name: asdict(estimate) for name, estimate in preview.estimates.items()},
        "minimum_result": preview.minimum_result,
        "epsilon": budgets.written(preview.epsilon) if preview.epsilon else "",
        "budgets": [budget_document(each, names(node)) for each in preview.budgets],
        "refusal": None
        if refusal is None
        else {"kind": type(refusal).__name__, "message": str(refusal), "hint": refusal.hint},
    }


def show_job(job: Job, standing: Mapping[str, Cell] | None = None) -> None:
    """Print what was or would be proposed, and how it stands."""
    texts = {name: value for name, value in sorted(job.params.items()) if isinstance(value, str) and "\n" in value}
    show_facts(
        {
            "job": job.id,
            "digest": job.digest,
            "protocol": f"{job.protocol} version {job.version}",
            "purpose": job.purpose or "(none given)",
            "parameters": cell(
                "\n".join(f"{name}={_value(value)}" for name, value in sorted(job.params.items()) if name not in texts),
                keep_lines=True,
            ),
            **{f"parameter {name}": cell(text, keep_lines=True) for name, text in texts.items()},
            "deadline": show_time(job.deadline) if job.deadline else "",
            **(standing or {}),
        }
    )


def standing(node: "Node", record: "JobRecord") -> dict[str, Cell]:
    """How a job stands, for `show_job`."""
    facts: dict[str, Cell] = {"proposed by": initiator(record), "since": show_time(record.created_at)}
    if record.attempt > 1:
        facts["attempt"] = f"{record.attempt}, after {record.retries} that were interrupted"
    return facts | {"state": cell(stands(node, record), _STYLES.get(record.state, ""))}


def show_members(job: Job, decided: Mapping[str, str]) -> None:
    """Print who takes part with what; `decided` is empty before the job is proposed."""
    heading("Parties")
    show_table(
        ("NAME", "ROLE", "DATASET", "COLUMNS", "RESULT", "DECISION"),
        [
            (
                name,
                member.role,
                member.dataset or "(none)",
                _columns(member),
                "receives it" if name in job.receivers else "",
                decided.get(name, "") or ("not known" if decided else ""),
            )
            for name, member in sorted(job.members.items())
        ],
    )


def show_preview(preview: "Preview", node: "Node") -> None:
    """Print what each party learns and what it costs."""
    me = node.name
    heading("What each party learns")
    show_table(("PARTY", "LEARNS"), [(_me(name, me), said) for name, said in sorted(preview.reveals.items())])
    if preview.minimum_result:
        say(f"Results and groups smaller than {preview.minimum_result:,} are withheld.")
    heading("What it costs")
    show_table(
        ("PARTY", "ROWS", "TIME", "SENDS", "RECEIVES", "MEMORY"),
        [
            (
                _me(name, me),
                f"{preview.rows[name]:,}" if preview.rows[name] else "unknown",
                show_duration(estimate.seconds),
                show_bytes(estimate.sent_bytes),
                show_bytes(estimate.received_bytes),
                show_bytes(estimate.peak_bytes),
            )
            for name, estimate in sorted(preview.estimates.items())
        ],
        right=("ROWS", "TIME", "SENDS", "RECEIVES", "MEMORY"),
    )
    say("Time is that of one idle core.")
    if not all(preview.rows.values()):
        say("Rows that are not known yet are not counted in: it costs more than that.")
    if preview.budgets:
        heading(f"Privacy budgets; each attempt costs epsilon {budgets.written(preview.epsilon)}")
        show_budgets(preview.budgets, names(node))


def show_record(node: "Node", record: "JobRecord") -> None:
    """Print all there is to know about a job: before the decision on it, and how it ended."""
    show_job(record.job, standing(node, record))
    decided = decisions(record)
    show_members(record.job, decided | ({} if decided[node.name] or record.ended else {node.name: "waits for you"}))
    try:
        preview = node.preview(record.id)
    except InputError as error:  # e.g. a protocol that this release does not have
        say(f"What it reveals and costs cannot be told: {error}")
    else:
        show_preview(preview, node)
        if not record.ended:
            show_policy(preview)
    if record.facts:
        heading("What this party learned on the way")
        show_facts({name: f"{count:,}" for name, count in record.facts.items()})
    if record.ended:
        heading("How it ended")
        show_outcome(record)


def show_policy(preview: "Preview") -> None:
    """Print whether the own policy allows the job, and otherwise why not and what would allow it."""
    if preview.refusal is None:
        say("Your policy allows it.")
        return
    say(f"Your policy refuses it: {preview.refusal}")
    for line in preview.refusal.hint.splitlines():
        say(line)


def show_outcome(record: "JobRecord") -> None:
    """Print how the job stands in a sentence, and what to do next."""
    say(
        f"job {record.id[:SHORT]} {'' if record.ended else 'is '}{record.state}"
        + (f": {record.reason}" if record.reason else "")
    )
    if record.detail:
        say(record.detail)
    for line in (record.hint or next_step(record)).splitlines():
        say(line)


def next_step(record: "JobRecord") -> str:
    """What to do about a job in its state; empty when there is nothing."""
    short = record.id[:SHORT]
    if record.state == "proposed":
        return f"Next: `sealane job approve {short}` or `sealane job deny {short}`."
    if not record.ended:
        unknown = [name for name, decision in decisions(record).items() if not decision]
        waiting = f"No decision of {', '.join(unknown)} is known yet. " if unknown else ""
        return f"{waiting}Next: `sealane job watch {short}`."
    from parties.jobs.watching import advice  # loads much that `sealane --help` does not need

    return f"Next: `sealane job result {short}`." if record.result is not None else advice(record)


def stands(node: "Node", record: "JobRecord") -> str:
    """The job's state and, while it waits, for what, as far as that is seen here."""
    if record.state != "waiting":
        return str(record.state)
    if unknown := [name for name, decision in decisions(record).items() if not decision]:
        return f"{record.state}, no decision of {', '.join(unknown)} known"
    if not running.is_running(node.home.path):
        return f"{record.state}, this node does not run"
    links = node.links()
    others = record.others(node.fingerprint)
    if away := [each.name for each in others if links.get(each.fingerprint, {}).get("state") != "connected"]:
        return f"{record.state}, {' and '.join(away)} not connected"
    if node.running_jobs() >= node.home.settings.max_running_jobs:
        return f"{record.state}, all workers are taken"
    return str(record.state)


def _me(name: str, me: str) -> str:
    return f"{name} (you)" if name == me else name


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _columns(member: Member) -> str:
    return "; ".join(f"{slot}: {', '.join(columns)}" for slot, columns in sorted(member.columns.items()))
