"""The demonstration's data: three institutions with some of the same customers, who write them differently.

Credit limits, ages and defaults are real (examples/data/README.md). Identity documents are made up from the row
number, because the source has none; they only serve to be matched.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

DATA = Path(__file__).parent / "data" / "uci_credit_card.csv"
AGE_BANDS = ("21-29", "30-39", "40-49", "50-59", "60-69", "70 and over")
_SURVEY_YEAR = 2005
_LETTERS = "ABCDEFGHJKLMNPRSTVWY"


@dataclass(frozen=True)
class Customer:
    """One row of the source."""

    number: int
    limit: int
    age: int
    defaulted: int

    @property
    def birth_year(self) -> int:
        return _SURVEY_YEAR - self.age

    @property
    def age_band(self) -> str:
        return AGE_BANDS[min(max(self.age // 10 - 2, 0), len(AGE_BANDS) - 1)]

    @property
    def document(self) -> tuple[str, str, str]:
        """Letter, six digits and check digit, different for every customer."""
        letter, digits = _LETTERS[self.number % len(_LETTERS)], f"{self.number * 7919 % 10**6:06}"
        weighted = (
            36 * 9 + (ord(letter) - 55) * 8 + sum(w * int(d) for w, d in zip(range(7, 1, -1), digits, strict=True))
        )
        return letter, digits, "0123456789A"[-weighted % 11]


@dataclass(frozen=True)
class Institutions:
    """Who has which customers. `mistyped` of cn-bank's have a wrong birth year there, `undocumented` no document."""

    hk_bank: Sequence[Customer]
    cn_bank: Sequence[Customer]
    payments: Sequence[Customer]
    mistyped: frozenset[int]
    undocumented: frozenset[int]

    @property
    def everybody(self) -> list[Customer]:
        """The rows of all three, one after the other: a customer of two institutions is there twice."""
        return [*self.hk_bank, *self.cn_bank, *self.payments]

    @property
    def common(self) -> set[int]:
        """The customers whom both banks have with a document and the same birth year."""
        ours = {customer.number for customer in self.hk_bank}
        return ours & {customer.number for customer in self.cn_bank} - self.mistyped - self.undocumented


def read_customers(path: Path = DATA) -> list[Customer]:
    """All rows of the source. It writes some integers as 5e+05, so all are read as fractions first."""
    columns = ("ID", "LIMIT_BAL", "AGE", "default.payment.next.month")
    with path.open(newline="") as file:
        return [Customer(*(int(float(row[column])) for column in columns)) for row in csv.DictReader(file)]


def institutions() -> Institutions:
    """The same three overlapping samples every time."""
    chosen = random.Random(2009).sample(read_customers(), 9000)
    both = chosen[2800:4000]
    return Institutions(
        hk_bank=chosen[:4000],
        cn_bank=chosen[2800:5800],
        payments=chosen[5000:],
        mistyped=frozenset(customer.number for customer in both[:15]),
        undocumented=frozenset(customer.number for customer in both[15:25]),
    )


def hk_bank_table(who: Institutions) -> pa.Table:
    """Documents as A123456(7); birth years as integers."""
    documents = [f"{letter}{digits}({check})" for letter, digits, check in (c.document for c in who.hk_bank)]
    years = pa.array([customer.birth_year for customer in who.hk_bank], pa.int64())
    return _table(who.hk_bank, id_document=pa.array(documents), birth_year=years)


def cn_bank_table(who: Institutions) -> pa.Table:
    """Documents as a-123 456-7 in lower case, some missing; birth years as text, some of them wrong."""
    documents = [_cn_document(customer, who) for customer in who.cn_bank]
    seen = [replace(c, age=c.age + 1) if c.number in who.mistyped else c for c in who.cn_bank]
    years = pa.array([str(customer.birth_year) for customer in seen])
    return _table(who.cn_bank, certificate=pa.array(documents, pa.string()), born=years)


def payments_table(who: Institutions) -> pa.Table:
    """No documents: a payment institution only joins the statistics."""
    accounts = [f"P{customer.number:06}" for customer in who.payments]
    return _table(who.payments, account=pa.array(accounts))


def _cn_document(customer: Customer, who: Institutions) -> str | None:
    if customer.number in who.undocumented:
        return None
    letter, digits, check = customer.document
    return f"{letter.lower()}-{digits[:3]} {digits[3:]}-{check.lower()}"


def _table(customers: Sequence[Customer], **keys: pa.Array) -> pa.Table:
    return pa.table(
        {
            **keys,
            "age_band": pa.array([customer.age_band for customer in customers]),
            "credit_limit": pa.array([customer.limit for customer in customers], pa.int64()),
            "defaulted": pa.array([customer.defaulted for customer in customers], pa.int64()),
        }
    )
