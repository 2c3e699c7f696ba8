"""Computation on secret-shared arrays: the parties run one program, and learn what it opens.

    engine = start("hk", peers, session=session, label=b"limits", rng=rng)
    limits = engine.share("hk", own_limits, shape=(n,), low=0, high=10**6)
    used = engine.share("cn", None, shape=(n,), low=0, high=10**6)
    over = engine.open((used > limits).sum())

Who takes part decides how values are shared: two parties alone (`transfers`), two with a helper (`dealer`), or three
(`replicated`), who may have guests that bring values and do not compute (`guests`). All are semi-honest; see
docs/security-sharing.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar, overload

import numpy as np

from mpc.channel import Channel
from mpc.errors import InputError, ProtocolError
from mpc.rng import Rng
from mpc.sharing.costs import Costs
from mpc.sharing.dealer import Dealer, Dealt
from mpc.sharing.guests import Guest, Hosts
from mpc.sharing.protocol import Shape, Sharing
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import U64, as_words, signed
from mpc.sharing.transfers import Transferred
from mpc.sharing.two_party import TwoParty
from mpc.sharing.values import (
    BOOL,
    I64,
    INT64_MAX,
    INT64_MIN,
    Bits,
    Public,
    Secret,
    truth_values,
    whole_numbers,
)
from mpc.sharing.verified import Verified
from mpc.sharing.verified_guests import CheckedGuest, CheckedHosts
from mpc.sharing.wire import Wire

Setting = Literal["no_helper", "helper", "replicated"]
V = TypeVar("V", Secret, Bits)


def choose_setting(parties: Sequence[str], helper: str = "", inputs: Sequence[str] = ()) -> Setting:
    """The setting for these parties; raises `InputError` for a helper that brings input and for other numbers."""
    computing = [party for party in parties if party != helper]
    if helper and (helper in inputs or helper not in parties):
        raise InputError(
            f"{helper} cannot be the helper: it brings input or does not take part",
            hint="the helper must be a party other than the two whose data are computed on",
        )
    if len(set(parties)) != len(parties) or len(computing) not in (2, 3) or (helper and len(computing) != 2):
        raise InputError(
            f"{len(computing)} parties cannot compute on shares{' with a helper' if helper else ''}",
            hint="take two parties, two and a helper, or three",
        )
    if helper:
        return "helper"
    return "no_helper" if len(computing) == 2 else "replicated"


class Engine:
    """One party's side of a computation. Every method is called by all computing parties, in the same order.

    Raises `InputError` for own values that do not fit what was declared, before anything is sent, and
    `ProtocolError` naming the peer and the step for messages that the program does not lead to.
    """

    def __init__(
        self,
        name: str,
        computing: Sequence[str],
        setting: Setting,
        sharing: Sharing,
        costs: Costs,
        *,
        planned: bool = False,
    ) -> None:
        self.name = name
        self.computing = tuple(computing)
        self.setting = setting
        self.sharing = sharing
        self.costs = costs
        self._planned = planned

    def share(self, owner: str, values: Any, *, shape: int | Shape, low: int, high: int, decimals: int = 0) -> Secret:
        """Shares of the integers that `owner` brings, low to high; `values` is None at the others.

        They are what numpy makes an array of `shape` of: a list, a column of pandas, polars or Arrow without NULLs.
        With `decimals` they stand for value / 10^decimals.
        """
        shape = _shape(shape)
        target = Secret(self, (), shape, low, high, decimals)
        words = None
        if self._brings(owner, values):
            own = np.asarray(values)
            if own.shape != shape or own.dtype.kind not in "iub":
                raise InputError(
                    f"{owner} declared integers of shape {shape} and has {own.dtype} of {own.shape}",
                    hint="fill in what is missing, and scale decimals to integers: with decimals=2, 2.50 is 250",
                )
            if own.size and not (low <= int(own.min()) and int(own.max()) <= high):
                raise InputError(f"{owner} has values outside the declared range of {low} to {high}")
            words = as_words(own).reshape(shape)
        return replace(target, parts=self.sharing.share(owner, words, shape))

    def share_words(self, owner: str, words: U64 | None, *, shape: Shape) -> Secret:
        """Shares of words modulo 2^64 that `owner` brings, None at the others, as integers of the whole range."""
        own = words if self._brings(owner, words) else None
        return Secret(self, self.sharing.share(owner, own, shape), shape, INT64_MIN, INT64_MAX)

    def share_bits(self, owner: str, values: Any, *, shape: int | Shape) -> Bits:
        """Shares of the truth values that `owner` brings; `values` is None at the others."""
        shape, bits = _shape(shape), None
        if self._brings(owner, values):
            own = np.asarray(values)
            if own.shape != shape or own.dtype != np.bool_:
                raise InputError(f"{owner} declared truth values of shape {shape} and has {own.dtype} of {own.shape}")
            bits = np.ascontiguousarray(own).view(np.uint8).reshape(shape)
        return Bits(self, self.sharing.share_bits(owner, bits, shape), shape)

    def constant(self, values: Any, decimals: int = 0) -> Secret:
        """Public integers, which all parties give alike."""
        array = whole_numbers(values)
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        return Secret(
            self, self.sharing.constant(as_words(array).reshape(array.shape)), array.shape, low, high, decimals
        )

    def constant_bits(self, values: Any) -> Bits:
        """Public truth values."""
        array = truth_values(values)
        return Bits(self, self.sharing.constant_bits(array.view(np.uint8)), array.shape)

    @overload
    def open(self, x: Secret) -> I64: ...
    @overload
    def open(self, x: Bits) -> BOOL: ...
    def open(self, x: Secret | Bits) -> I64 | BOOL:
        """The values, at all computing parties."""
        found = self._open(x, self.computing)
        assert found is not None
        return found

    def open_to(self, receiver: str, x: Secret | Bits) -> I64 | BOOL | None:
        """The values at one computing party, None at the others."""
        self._check_party(receiver)
        return self._open(x, (receiver,))

    def _open(self, x: Secret | Bits, to: tuple[str, ...]) -> I64 | BOOL | None:
        if isinstance(x, Bits):
            bits = self.sharing.open_bits(x.parts, x.shape, to)
            return None if bits is None else bits.astype(np.bool_)
        words = self.sharing.open(x.parts, x.shape, to)
        return None if words is None else signed(words)

    def where(self, bits: Bits, x: Secret | Public, y: Secret | Public) -> Secret:
        """x where a bit is set, y elsewhere; if one of them is public, it is in the units of the other."""
        decimals = next((each.decimals for each in (x, y) if isinstance(each, Secret)), 0)
        x, y = (x if isinstance(x, Secret) else self.constant(x, decimals)).alike(y)
        chosen = self.select(bits, x - y)
        return replace((y + chosen.within(0, 0)), low=min(x.low, y.low), high=max(x.high, y.high))

    def select(self, bits: Bits, x: Secret) -> Secret:
        """x where a bit is set, zero elsewhere."""
        shape = np.broadcast_shapes(bits.shape, x.shape)
        bits, x = bits.broadcast_to(shape), x.broadcast_to(shape)
        target = replace(x, parts=(), low=min(x.low, 0), high=max(x.high, 0))
        return replace(target, parts=self.sharing.select(bits.parts, x.parts, shape))

    def sums_by(self, owner: str, groups: Public | None, count: int, x: Secret) -> Secret:
        """Sums of the rows of x (rows x columns) by group, count x columns, where `owner` alone knows the groups.

        `groups` (None at the others) has a number a row: 0 to count - 1, or another one for a row that is in no group.
        """
        self._check_party(owner)
        if len(x.shape) != 2:
            raise InputError(
                f"sums by group are of rows (n x columns), not {x.shape}",
                hint="a vector as rows of one column: values.reshape(-1, 1)",
            )
        rows, columns = x.shape
        own = None if groups is None else whole_numbers(groups)
        if self._mismatch(owner, own) or (own is not None and own.shape != (rows,)):
            raise InputError(f"groups come from {owner}, one number a row, and from no other party")
        target = replace(x, parts=(), shape=(count, columns), low=min(x.low * rows, 0), high=max(x.high * rows, 0))
        return replace(target, parts=self.sharing.sums_by(owner, own, count, x.parts, (rows, columns)))

    def shuffle(self, x: Secret) -> Secret:
        """A vector's elements, or the rows of an array of two dimensions, in a random order that no party knows."""
        table = x if len(x.shape) == 2 else x.reshape(-1, 1)
        rows, columns = table.shape
        return replace(table, parts=self.sharing.shuffle(table.parts, (rows, columns))).reshape(x.shape)

    def concatenate(self, arrays: Sequence[V], axis: int = 0) -> V:
        """Arrays joined along an axis."""
        first = arrays[0]
        parts = tuple(np.concatenate(group, axis) for group in zip(*(array.parts for array in arrays), strict=True))
        shapes = [np.broadcast_to(np.uint8(0), array.shape) for array in arrays]
        shape = np.concatenate(shapes, axis).shape
        if isinstance(first, Bits):
            return replace(first, parts=parts, shape=shape)
        secrets = [array for array in arrays if isinstance(array, Secret)]
        if len({array.decimals for array in secrets}) > 1:
            raise InputError("arrays with different decimals cannot be joined")
        low, high = min(array.low for array in secrets), max(array.high for array in secrets)
        return replace(first, parts=parts, shape=shape, low=low, high=high)

    def adopt(self, words: U64, *, low: int, high: int, decimals: int = 0) -> Secret:
        """An array that two parties already share additively modulo 2^64: `words` is this party's part."""
        self._check_two("adopt")
        return Secret(self, (words,), words.shape, low, high, decimals)

    def words(self, x: Secret) -> U64:
        """This party's additive part of an array that two parties share."""
        self._check_two("words")
        return x.parts[0]

    def announce(self, owner: str, value: int | None, *, most: int) -> int:
        """A public number that `owner` brings (what the others give is ignored): a count that shapes depend on."""
        self._check_party(owner)
        own = value if owner == self.name else None
        if (own is None and owner == self.name and not self._planned) or (own is not None and not _is_count(own, most)):
            raise InputError(f"{owner}: what it announces is a whole number from 0 to {most}")
        found = self.sharing.announce(owner, None if own is None else int(own))
        if found > most:
            raise ProtocolError(f"{owner}: brings {found} (at most {most})")
        return found

    def finish(self) -> None:
        """The program has ended: a helper may go."""
        self.sharing.finish()

    def _brings(self, owner: str, values: Any) -> bool:
        self._check_party(owner)
        if self._mismatch(owner, values):
            raise InputError(f"values come from {owner}, and from no other party")
        return values is not None

    def _mismatch(self, owner: str, values: Any) -> bool:
        """Whether values come from another party than their owner, or from none; a plan needs none."""
        return (values is not None) != (owner == self.name) and not self._planned

    def _check_party(self, name: str) -> None:
        if name not in self.computing:
            raise InputError(f"{name} does not compute, only {', '.join(self.computing)}")

    def _check_two(self, what: str) -> None:
        if self.setting == "replicated":
            raise InputError(f"{what}: parts of three parties are not additive shares of two")


def start(
    name: str,
    peers: Mapping[str, Channel],
    *,
    session: bytes,
    label: bytes,
    rng: Rng,
    helper: str = "",
    verified: bool = False,
    guests: Sequence[str] = (),
) -> Engine:
    """This party's engine in a computation with `peers`, the helper among them if there is one.

    `session` (16 bytes) is new for each attempt; `label` names the stage, and is another one for each engine of a
    session. All parties call this together, the helper `help_others`. With `verified`, which three parties can choose,
    one of them may cheat (see `mpc.sharing.verified`, which says what a program can then do). `guests` bring values to
    three others and are told what is opened.
    """
    parties = sorted([name, *peers])
    if guests:
        computing = [party for party in parties if party not in guests]
        if helper or choose_setting(computing) != "replicated" or not set(guests) < set(parties):
            raise InputError("guests bring values to three parties that take part", hint="leave a helper out")
        return _with_guests(name, peers, computing, sorted(guests), session, label, rng, verified=verified)
    setting = choose_setting(parties, helper)
    if verified and setting != "replicated":
        raise InputError("only three parties can verify each other", hint="take three parties, or leave `verified` out")
    wire = Wire(name, peers, session, label, "verified" if verified else setting, rng)
    computing = [party for party in parties if party != helper]
    sharing = Verified(wire, computing, rng) if verified else _sharing(wire, computing, setting, helper, session, rng)
    return Engine(name, computing, setting, sharing, wire.costs)


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int | np.integer) and 0 <= int(value) <= most


def _shape(shape: int | Sequence[int]) -> Shape:
    return tuple(int(size) for size in shape) if isinstance(shape, Sequence) else (int(shape),)


def _with_guests(
    name: str,
    peers: Mapping[str, Channel],
    computing: Sequence[str],
    guests: Sequence[str],
    session: bytes,
    label: bytes,
    rng: Rng,
    *,
    verified: bool,
) -> Engine:
    setting = "verified" if verified else "replicated"

    def reach(names: Sequence[str]) -> dict[str, Wire]:
        said = f"{setting}, guest of {', '.join(computing)}"
        return {peer: Wire(name, {peer: peers[peer]}, session, label, said, rng) for peer in names}

    everybody = [*computing, *guests]
    if name in guests:
        wires = reach(computing)
        costs = wires[computing[0]].costs
        _counted(wires, costs)
        guest = CheckedGuest(name, computing, wires, rng) if verified else Guest(name, computing, wires)
        return Engine(name, everybody, "replicated", guest, costs)
    wire = Wire(name, {peer: peers[peer] for peer in computing if peer != name}, session, label, setting, rng)
    wires = _counted(reach(guests), wire.costs)
    hosts: Sharing = Hosts(Replicated(wire, computing), name, computing, wires)
    if verified:
        hosts = CheckedHosts(Verified(wire, computing, rng), name, computing, wires)
    return Engine(name, everybody, "replicated", hosts, wire.costs)


def _counted(wires: dict[str, Wire], costs: Costs) -> dict[str, Wire]:
    """The wires, all of which count in one place."""
    for wire in wires.values():
        wire.costs = costs
    return wires


def _sharing(wire: Wire, computing: Sequence[str], setting: Setting, helper: str, session: bytes, rng: Rng) -> Sharing:
    if setting == "replicated":
        return Replicated(wire, computing)
    first = wire.name == computing[0]
    peer = computing[1 if first else 0]
    if setting == "helper":
        return TwoParty(wire, computing, Dealt(wire, peer, helper, first=first), rng)
    return TwoParty(wire, computing, Transferred(wire, peer, rng, session, first=first), rng)


def help_others(name: str, peers: Mapping[str, Channel], *, session: bytes, label: bytes, rng: Rng) -> Costs:
    """The helper's part: ends when the others' program has."""
    choose_setting(sorted([name, *peers]), name)
    wire = Wire(name, peers, session, label, "helper", rng)
    Dealer(wire, sorted(peers)).serve()
    return wire.costs
