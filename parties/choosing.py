"""Which protocol a job of the family `psi` gets, before it is proposed: by sizes, grants and the link to the peer."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from mpc.errors import InputError, ProtocolError
from mpc.job import Job, explain
from mpc.primitives.threads import usable_cores
from mpc.psi.choose import Choice, Network, choose, read_params, resolve
from parties import datasets, policy
from parties.jobs.authorise import authorise
from parties.policy import ANY


@with_config(ConfigDict(extra="ignore", strict=True))
@dataclass(frozen=True)
class _Offer:
    dataset: str
    rows: Annotated[int, Field(ge=0, lt=2**53)]
    protocols: list[str]


_OFFERS = TypeAdapter(list[_Offer])


def choose_protocol(
    db: sqlite3.Connection, me: str, job: Job, catalogue: Mapping[str, Any], measured: Mapping[str, Any], now: float
) -> Choice:
    """The choice for `job`, a complete one of two members whose protocol is the family.

    `me` is the own fingerprint, `catalogue` what the peer offers, `measured` what `Node.diagnose` found. Protocols
    that either party's grants do not cover are left out. Raises `InputError` when no protocol is left or a size is
    not known, `ProtocolError` when the catalogue cannot be read.
    """
    ((peer, theirs),) = ((name, member) for name, member in job.members.items() if member.fingerprint != me)
    (ours,) = (member for name, member in job.members.items() if name != peer)
    offer = _offer(catalogue, peer, theirs.dataset)
    own = datasets.get(db, ours.dataset)
    rows = {ours.role: own.rows, theirs.role: offer.rows}
    link = Network(measured["received_bytes"] / measured["seconds"])
    both = len(job.receivers) == len(job.members)
    params, cores = read_params(job), usable_cores()
    fastest = partial(choose, rows, link, release=params.release, both=both, cores=cores, memory_mb=params.memory_mb)
    return fastest(among=[name for name in fastest().seconds if _granted(db, me, job, name, offer, now)])


def _offer(catalogue: Mapping[str, Any], peer: str, dataset: str) -> _Offer:
    try:
        offers = _OFFERS.validate_json(json.dumps(catalogue.get("datasets")))
    except ValidationError as error:
        raise ProtocolError(f"{peer}: sent a catalogue that cannot be read: {explain(error)}") from None
    for offer in offers:
        if offer.dataset == dataset:
            return offer
    raise InputError(
        f"{peer} offers no dataset {dataset!r}, so that its size is not known",
        hint="ask its operator for a grant, or name the protocol: psi.ecdh or psi.vole",
    )


def _granted(db: sqlite3.Connection, me: str, job: Job, protocol: str, offer: _Offer, now: float) -> bool:
    if protocol not in offer.protocols and ANY not in offer.protocols:
        return False
    return isinstance(authorise(db, me, resolve(job, protocol), now).decision, policy.Allowed)
