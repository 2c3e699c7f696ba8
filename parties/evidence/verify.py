"""Verifies exported evidence (`export`): needs the files and the fingerprints of the parties, nothing else.

A file alone shows that nothing in the middle was edited, removed or reordered. That nothing was cut off or rewritten
by the party itself shows only against something another holds: an earlier head, another export, a peer's receipts.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, BinaryIO, NoReturn

from mpc.errors import InputError, ProtocolError
from mpc.job import canonical_json
from parties.evidence import receipt as receipts
from parties.evidence.export import ENTRY, FILE_KIND, HEAD, HEAD_DOMAIN, HEADER, MAX_LINE_BYTES, VERSION
from parties.evidence.log import Entry, check_time
from parties.evidence.receipt import Receipt
from parties.identity.certificates import IdentityCertificate, read_identity
from parties.identity.keys import verify as verify_signature

MAX_CERTIFICATES = 1000
Head = tuple[int, str]


class BadEvidence(InputError):
    """The evidence does not hold. `entry` is the first bad entry's number (0: not an entry), `line` where it is."""

    def __init__(self, complaint: str, *, line: int, entry: int = 0, hint: str = "") -> None:
        where = f"entry {entry} (line {line})" if entry else f"line {line}"
        super().__init__(f"{where}: {complaint}", hint=hint)
        self.line = line
        self.entry = entry


@dataclass(frozen=True)
class Report:
    """What a verified file holds. Keep `head`: the next export must contain it."""

    name: str
    fingerprint: str
    entries: int
    receipts: int
    head: Head  # number and hash of the last entry
    first_time: str
    last_time: str
    strangers: tuple[str, ...]  # "name fingerprint" of parties to receipts that were not among the trusted


def verify(file: BinaryIO, trusted: Collection[str], since: Head | None = None) -> Report:
    """What the file holds, if all of it is in order.

    `trusted` are fingerprints, learned from the parties and not from the file: the log's own party must be among
    them. `since` is a head that an earlier report gave. Raises `BadEvidence`, which names the first bad entry.
    """
    log = _Log(file, trusted)
    count, strangers, first, last = 0, set[str](), None, None
    for item in log.items():
        if isinstance(item, Receipt):
            count += 1
            parties = item.statement.parties.items()
            strangers.update(f"{name} {party}" for name, party in parties if party not in trusted)
            continue
        first, last = first or item, item
        if since and item.seq == since[0] and item.hash != since[1]:
            raise BadEvidence(
                "differs from the head that was kept: the log was rewritten", line=log.line, entry=item.seq
            )
    assert first is not None
    assert last is not None
    if since and last.seq < since[0]:
        raise BadEvidence(
            f"is the last entry, but the log already had {since[0]}: it was cut, or restored from an old backup",
            line=log.line,
            entry=last.seq,
        )
    return Report(
        name=log.certificate.name,
        fingerprint=log.certificate.fingerprint,
        entries=last.seq,
        receipts=count,
        head=(last.seq, last.hash),
        first_time=first.time,
        last_time=last.time,
        strangers=tuple(sorted(strangers)),
    )


def compare(one: BinaryIO, other: BinaryIO, trusted: Collection[str]) -> int:
    """How many entries two exports of one party share; raises `BadEvidence` when neither continues the other.

    Both are verified on the way.
    """
    logs = _Log(one, trusted), _Log(other, trusted)
    if logs[0].certificate.fingerprint != logs[1].certificate.fingerprint:
        raise BadEvidence("the two files are of different parties", line=1)
    common = 0
    for left, right in zip_longest(logs[0].entries(), logs[1].entries()):
        if left and right:
            if left.hash != right.hash:
                raise BadEvidence(
                    "differs between the two files: the log was forked", line=logs[0].line, entry=left.seq
                )
            common = left.seq
    return common


def cross_check(ours: BinaryIO, theirs: BinaryIO, trusted: Collection[str]) -> int:
    """How many receipts in a peer's export bear the signature of our party.

    Raises `BadEvidence` when our log does not know one of them: it was cut, or restored from an old backup. Both
    files are verified on the way.
    """
    log, peer = _Log(ours, trusted), _Log(theirs, trusted)
    known = {
        entry.fields["statement"] for entry in log.entries() if entry.kind in ("receipt_signed", "receipt_completed")
    }
    shared = 0
    for item in peer.items():
        if isinstance(item, Receipt) and log.certificate.fingerprint in item.signatures:
            shared += 1
            if item.statement.hash not in known:
                raise BadEvidence(
                    f"{peer.certificate.name} holds the receipt of job {item.statement.job}, signed by "
                    f"{log.certificate.name}, whose own log lacks it: it was cut, or restored from an old backup",
                    line=peer.line,
                )
    return shared


class _Log:
    """One file, read once from its first line to its last. `line` is the number of the line read last."""

    def __init__(self, file: BinaryIO, trusted: Collection[str]) -> None:
        self.line = 0
        self._file = file
        self._last: Entry | None = None
        self._owed: str | None = None  # the statement whose receipt must be the next item
        self.certificate = self._header(trusted)
        self._certificates = {self.certificate.fingerprint: self.certificate.pem}

    def entries(self) -> Iterator[Entry]:
        """The entries alone; the receipts are verified all the same."""
        return (item for item in self.items() if isinstance(item, Entry))

    def items(self) -> Iterator[Entry | Receipt]:
        """Entries and receipts as they come, each after it was found to be in order."""
        while True:
            value = self._next()
            if value is None:
                raise BadEvidence(
                    "the file ends without its head: it was cut",
                    line=self.line,
                    entry=self._last.seq if self._last else 0,
                )
            fields = set(value)
            if self._owed and fields not in ({"certificate"}, {"receipt"}):
                self._fail("its receipt is missing")
            if fields == ENTRY:
                yield self._entry(value)
            elif fields == {"receipt"}:
                yield self._receipt(value["receipt"])
            elif fields == {"certificate"}:
                self._co_signer(value["certificate"])
            elif fields == HEAD:
                self._head(value)
                return
            else:
                self._fail("is neither an entry, a receipt, a certificate nor a head")

    def _header(self, trusted: Collection[str]) -> IdentityCertificate:
        value = self._next()
        if value is None or set(value) != HEADER or value["kind"] != FILE_KIND:
            raise BadEvidence("this is not a file of evidence", line=1)
        if value["version"] != VERSION:
            raise BadEvidence("this release does not know the version of the file", line=1)
        with self._blame():
            certificate = read_identity(_text(value["certificate"]).encode())
        if certificate.fingerprint not in trusted:
            raise BadEvidence(
                f"the file is of {certificate.name} with fingerprint {certificate.fingerprint}, which is not trusted",
                line=1,
                hint="compare the fingerprint with the party's operator, then name it",
            )
        return certificate

    def _entry(self, value: dict[str, Any]) -> Entry:
        expected = self._last.seq + 1 if self._last else 1
        with self._blame(expected):
            entry = Entry.from_json(value["body"], value["signature"])
            if entry.hash != value["hash"]:
                raise InputError("was edited: its hash does not match")
            if entry.seq != expected:
                raise InputError(f"is missing: entry {entry.seq} is in its place")
            if entry.previous != (self._last.hash if self._last else self.certificate.fingerprint):
                raise InputError("does not continue what is before it")
            entry.check_signature(self.certificate.pem)
            owner = {"name": self.certificate.name, "fingerprint": self.certificate.fingerprint}
            if entry.seq == 1 and entry.fields != owner:
                raise InputError("names another party than the certificate")
        self._last = entry
        if entry.kind == "receipt_completed":
            self._owed = str(entry.fields["statement"])
        return entry

    def _receipt(self, value: object) -> Receipt:
        with self._blame(self._last.seq if self._last else 0):
            receipt = Receipt.from_bytes(canonical_json(value))
            if receipt.statement.hash != self._owed:
                raise InputError("its receipt is another than the one it names")
            receipts.check(receipt, self._certificates)
            if self.certificate.fingerprint not in receipt.signatures:
                raise InputError(f"{self.certificate.name} is not a party to its receipt")
        self._owed = None
        return receipt

    def _co_signer(self, value: object) -> None:
        with self._blame():
            certificate = read_identity(_text(value).encode())
        if len(self._certificates) >= MAX_CERTIFICATES:
            raise BadEvidence(f"there are more than {MAX_CERTIFICATES} certificates", line=self.line)
        self._certificates[certificate.fingerprint] = certificate.pem

    def _head(self, value: dict[str, Any]) -> None:
        if self._last is None or (value["entries"], value["hash"]) != (self._last.seq, self._last.hash):
            self._fail("is not the last entry that the head of the file names: entries were cut off")
        with self._blame():
            check_time(value["time"])
            signed = canonical_json({name: value[name] for name in HEAD if name != "signature"})
            verify_signature(self.certificate.pem, HEAD_DOMAIN, signed, _hexadecimal(value["signature"]))
        if self._next() is not None:
            raise BadEvidence("the file goes on after its head", line=self.line)

    def _next(self) -> dict[str, Any] | None:
        """The next line's object; None at the end of the file."""
        raw = self._file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            return None
        self.line += 1
        if len(raw) > MAX_LINE_BYTES:
            raise BadEvidence(f"the line is longer than {MAX_LINE_BYTES} bytes", line=self.line)
        try:
            value = json.loads(raw)
            canonical = canonical_json(value) + b"\n" == raw
        except (ValueError, RecursionError):
            raise BadEvidence("the line is not JSON", line=self.line) from None
        if not canonical or not isinstance(value, dict):
            raise BadEvidence("the line is not an object in canonical form", line=self.line)
        return value

    def _fail(self, complaint: str) -> NoReturn:
        raise BadEvidence(complaint, line=self.line, entry=self._last.seq if self._last else 0)

    @contextmanager
    def _blame(self, entry: int = 0) -> Iterator[None]:
        """Says of an error in the block where in the file it is."""
        try:
            yield
        except (InputError, ProtocolError) as error:
            raise BadEvidence(str(error), line=self.line, entry=entry) from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise InputError("a certificate is a text")
    return value


def _hexadecimal(value: object) -> bytes:
    try:
        return bytes.fromhex(_text(value))
    except ValueError:
        raise InputError("a signature is hexadecimal") from None
