"""Jobs of `mpc.estimators` between real nodes on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mpc.estimators import Runner
from mpc.job import Job
from mpc.spec import Outcome
from parties.sandbox import Sandbox


def on_nodes(parties: Sandbox) -> Runner:
    """A runner whose jobs run between the nodes of a sandbox, each of which keeps its own part of a model.

    It registers each party's table as a dataset for the time of the job, and grants the job to the other members.
    """

    def run(job: Job, tables: Mapping[str, Any], _parts: Mapping[str, bytes]) -> Mapping[str, Outcome]:
        dataset = f"table-{job.id[:16]}"
        members = {name: replace(member, dataset=dataset) for name, member in job.members.items()}
        placed = replace(job, members=members)
        nodes = {name: parties[name].node for name in members}
        for name, node in nodes.items():
            keys = members[name].columns.get("key") or tables[name].column_names[:1]
            node.add_dataset(dataset, tables[name], keys)
        try:
            parties.allow(placed)
            results = parties.run(placed)
        finally:
            for node in nodes.values():
                node.remove_dataset(dataset)
        trained = job.protocol.startswith("train.")
        return {
            name: Outcome(results.get(name), model=node.model_part(job.id) if trained else b"")
            for name, node in nodes.items()
        }

    return run
