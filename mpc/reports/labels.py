"""What undeclared groups are called: told to the receivers for groups that are released, and for no others."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from mpc.channel import Channel
from mpc.errors import ProtocolError
from mpc.job import canonical_json
from mpc.reports.groups import MAX_LABEL_CHARACTERS, WITHHELD, Label, labels_of
from mpc.reports.params import Params
from mpc.reports.plan import Plan
from mpc.sharing.engine import Engine
from protos import report_pb2

Labels = Sequence[tuple[Label, ...]]

_HASH_WORDS = 4


def shown(plan: Plan, params: Params, party: str, own: Labels, released: Collection[int]) -> Labels:
    """The labels of the own groups, with those withheld that were not declared and that no released group has."""
    secret = secret_keys(plan, params, party)
    return [
        tuple(
            WITHHELD if hide and number not in released else label for label, hide in zip(labels, secret, strict=True)
        )
        for number, labels in enumerate(own)
    ]


def tell(channels: Iterable[Channel], labels: Labels) -> None:
    """Send what the own groups are called."""
    message = report_pb2.Labels()
    for group in labels:
        written = message.groups.add()
        for label in group:
            added = written.labels.add()
            if label == WITHHELD:
                added.withheld = True
            elif isinstance(label, int):
                added.number = label
            elif label is not None:
                added.text = label
    for channel in channels:
        channel.send(message)


def hear(peer: str, channel: Channel, groups: int, secret: Sequence[bool], released: Collection[int]) -> Labels:
    """What a peer's groups are called; those that are `released` may withhold nothing."""
    message = channel.recv(report_pb2.Labels)
    if len(message.groups) != groups:
        raise ProtocolError(f"{peer}: named {len(message.groups)} groups of {groups}")
    labels: list[tuple[Label, ...]] = []
    for number, group in enumerate(message.groups):
        if len(group.labels) != len(secret):
            raise ProtocolError(f"{peer}: named a group by {len(group.labels)} labels, not {len(secret)}")
        labels.append(tuple(_label(peer, label) for label in group.labels))
        if WITHHELD in labels[number] and number in released:
            raise ProtocolError(f"{peer}: does not name a group that is released")
    return labels


def compare(engine: Engine, owner: str, labels: Labels | None) -> None:
    """Raise `ProtocolError` if a receiver was told other labels than the rest; None at parties that were told none.

    The owner tells all a hash, which they compare.
    """
    own = None
    if labels is not None:
        state = hashlib.sha256(canonical_json([list(group) for group in labels]))
        own = np.frombuffer(state.digest(), np.uint64).tolist()
    for index in range(_HASH_WORDS):
        told = engine.announce(owner, own[index] if own is not None else None, most=2**64 - 1)
        if own is not None and told != own[index]:
            raise ProtocolError(f"{owner}: told the receivers different names of its groups, in step 'name groups'")


def secret_keys(plan: Plan, params: Params, party: str) -> list[bool]:
    """For each of the party's group keys, whether its values were not declared."""
    return [labels_of(key, params) is None for key in plan.groups if key.column.party == party]


def _label(peer: str, label: report_pb2.Labels.Label) -> Label:
    kind = label.WhichOneof("value")
    if kind == "number":
        return label.number
    if kind == "withheld":
        return WITHHELD
    if kind is None:
        return None
    if len(label.text) > MAX_LABEL_CHARACTERS:
        raise ProtocolError(f"{peer}: named a group by {len(label.text)} characters")
    return label.text
