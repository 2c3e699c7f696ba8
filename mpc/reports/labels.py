"""What undeclared groups are called: told to the receivers for groups that are released, and for no others."""

from collections.abc import Collection, Mapping, Sequence

from mpc.channel import Channel
from mpc.errors import ProtocolError
from mpc.reports.groups import Label
from mpc.reports.results import WITHHELD
from protos import report_pb2

MAX_LABEL_CHARACTERS = 200

Labels = Sequence[tuple[Label, ...]]


def tell(channels: Mapping[str, Channel], own: Labels, numbers: Collection[int]) -> None:
    """Send the labels of the own groups of these numbers."""
    message = report_pb2.Labels()
    for number in sorted(numbers):
        group = message.groups.add(number=number)
        for label in own[number]:
            added = group.labels.add()
            if isinstance(label, int):
                added.number = label
            elif label is not None:
                added.text = label[:MAX_LABEL_CHARACTERS]
    for channel in channels.values():
        channel.send(message)


def hear(peer: str, channel: Channel, groups: int, keys: int, numbers: Collection[int]) -> Labels:
    """The labels of all of a peer's groups, each of `keys` labels; those not in `numbers` are withheld."""
    message = channel.recv(report_pb2.Labels)
    if [group.number for group in message.groups] != sorted(numbers):
        raise ProtocolError(f"{peer}: named other groups than those that are released")
    labels: list[tuple[Label, ...]] = [(WITHHELD,) * keys] * groups
    for group in message.groups:
        if len(group.labels) != keys:
            raise ProtocolError(f"{peer}: named a group by {len(group.labels)} labels, not {keys}")
        labels[group.number] = tuple(_label(peer, label) for label in group.labels)
    return labels


def shown(own: Labels, keys: int, numbers: Collection[int]) -> Labels:
    """As `hear`, of the own groups."""
    return [labels if number in numbers else (WITHHELD,) * keys for number, labels in enumerate(own)]


def _label(peer: str, label: report_pb2.Labels.Label) -> Label:
    kind = label.WhichOneof("value")
    if kind == "number":
        return label.number
    if kind is None:
        return None
    if len(label.text) > MAX_LABEL_CHARACTERS:
        raise ProtocolError(f"{peer}: named a group by {len(label.text)} characters")
    return label.text
