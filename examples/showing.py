"""How the demonstration shows its steps: tables, what was right and wrong, jobs from proposal to result."""

import time
from collections.abc import Mapping, Sequence

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from examples.customers import Institutions
from mpc.errors import InputError
from mpc.job import Job
from parties import Node
from parties.cli.units import show_bytes, show_duration
from parties.sandbox import Sandbox


class Demo:
    """The console, the parties and their data, and how many answers agreed."""

    def __init__(self, console: Console, parties: Sandbox, who: Institutions) -> None:
        self.console = console
        self.parties = parties
        self.nodes: Mapping[str, Node] = parties.nodes()
        self.who = who
        self.right = 0
        self.wrong: list[str] = []

    def check(self, what: str, learned: object, truth: object) -> str:
        """A mark for a table; notes whether `learned` is the `truth`."""
        if learned == truth:
            self.right += 1
            return "[green]agrees[/]"
        self.wrong.append(what)
        return "[bold red]DIFFERS[/]"

    def step(self, title: str, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{title}[/]", align="left")
        self.console.print(text)

    def table(
        self, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
    ) -> None:
        table = Table(title=title, title_justify="left", title_style="bold")
        for header in headers:
            table.add_column(header, justify="right" if header in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


def agree(demo: Demo, job: Job) -> None:
    """The first member proposes; the others look at what it reveals and costs, and approve exactly that."""
    proposer, *others = job.members
    demo.parties.allow(job, automatic=False)
    record = demo.nodes[proposer].propose(job)
    for name in others:
        demo.parties.await_job(name, record.id)
    preview = demo.nodes[others[0]].preview(record.id)
    rows = []
    for name, reveals in preview.reveals.items():
        cost = preview.estimates[name]
        rows.append((name, reveals, show_duration(cost.seconds), show_bytes(cost.sent_bytes)))
    title = f"What {others[0]} is shown before it decides: {job.protocol}, for {job.purpose!r}"
    demo.table(title, ("Party", "Learns", "Time", "Sends"), rows, ("Time", "Sends"))
    for name in others:
        try:
            demo.nodes[name].approve(record.id, "0" * 64)
            demo.wrong.append("an approval of another digest")
        except InputError:
            demo.nodes[name].approve(record.id, preview.digest)
    demo.console.print(f"Proposed by {proposer}, approved by {' and '.join(others)}: digest {preview.digest[:16]} ...")


def run(demo: Demo, job: Job) -> dict[str, pa.Table]:
    """Show how far the job is until it has ended; gives each receiver's table."""
    started = time.monotonic()
    quiet = not demo.console.is_terminal
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=demo.console, transient=True, disable=quiet
    ) as bars:
        bar = bars.add_task("starting", total=None)
        for record, progress in demo.nodes[next(iter(job.members))].watch(job.id, 300.0):
            if progress is not None:
                bars.update(bar, description=progress.step, completed=progress.done, total=progress.total)
            elif not record.ended:
                bars.update(bar, description=f"{record.state}")
    results = demo.parties.results(job)
    for name in job.members:
        demo.parties.await_receipt(name, job.id)
    demo.console.print(f"The job has succeeded at all parties after {time.monotonic() - started:.1f} s.")
    return results
