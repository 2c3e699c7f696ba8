"""Rounds and bytes of every operation between three parties that check each other, from shapes alone."""

from math import prod

from mpc.sharing import benes
from mpc.sharing.circuits import carry_rounds, tree_sizes
from mpc.sharing.costs import Cost
from mpc.sharing.judges import HASH_BYTES
from mpc.sharing.prices import Ledger, ThreeParties
from mpc.sharing.ring import words_of
from mpc.sharing.verified_costs import (
    MOST_GATE_WORDS,
    MOST_PRODUCTS,
    gate_check_cost,
    group_width,
    inner_product_cost,
    lots,
    matmul_parts,
    products_check_cost,
    random_products_cost,
    shuffle_rounds,
    sign_rounds,
    zero_rounds,
)


class VerifiedPrices:
    """`Prices` of `mpc.sharing.verified`: what is computed is checked before something is opened."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._plain = ThreeParties(ledger)
        self._products: list[int] = []
        self._gate_words = 0

    def share(self, operation: str, owner: str, elements: int, words: int) -> None:
        self._plain.share(operation, owner, elements, words)

    def multiply(self, count: int) -> None:
        self._begin("multiply", count, 1)
        self._product(count)

    def _product(self, count: int) -> None:
        self._ledger.both(count)
        self._products.append(count)

    def matmul(self, m: int, k: int, n: int) -> None:
        self._begin("matmul", m * k * n, 0)
        for part in matmul_parts((m, k, n)):
            self._ledger.add(rounds=1)
            self._product(m * k * (part.stop - part.start))

    def conjoin(self, count: int) -> None:
        self._begin("conjoin", count, 1)
        self._conjoined(words_of(count))

    def _begin(self, operation: str, count: int, rounds: int) -> None:
        if self._gate_words >= MOST_GATE_WORDS:
            self._check_gates()
        if sum(self._products) >= MOST_PRODUCTS:
            self._check_products()
        self._ledger.begin(operation, count, rounds)

    def _conjoined(self, words: int) -> None:
        self._ledger.both(words)
        self._gate_words += words

    def sign(self, count: int, width: int) -> None:
        self._begin("compare", count, sign_rounds(width))
        tree = sum(pairs * stack for pairs, stack in tree_sizes(width - 2, carries=True))
        self._conjoined((max(width - 1, 0) + max(width - 2, 0) + tree) * words_of(count))

    def zero(self, count: int, width: int) -> None:
        self._begin("equal", count, zero_rounds(width))
        self._conjoined(3 * (width - 1) * words_of(count))

    def zero_words(self, count: int) -> None:
        """Words that add up by exclusive or."""
        self._begin("equal", count, carry_rounds(64))
        self._conjoined(63 * words_of(count))

    def hand_over(self, taker: str, witness: str, words: int) -> None:
        """As `mpc.sharing.deliveries` does, like all that follows."""
        self._told("hand_over", taker, witness, words)

    def fingerprints(self, columns: int, rows: int) -> None:
        self._ledger.begin("fingerprint", columns * rows)
        self._ledger.both(rows)
        self._ledger.costs.add("verify_fingerprint", inner_product_cost(columns, columns * rows))

    def tell(self, teller: str, hearer: str, words: int) -> None:
        self._told("tell", teller, hearer, words)

    def show(self, witness: str, words: int) -> None:
        """And what the witness says of it."""
        self._check()
        self._ledger.begin("show", words, 2)
        mine = self._ledger.name == witness
        self._ledger.add(sent=2 if mine else words, received=2 * words if mine else 1)

    def confirm_guest(self, words: int, *, receives: bool) -> None:
        """What a guest brings, and what two of the three say of it."""
        self._ledger.add(received=words if receives else 0)
        self._ledger.begin("check_guest", 1)
        self._hashes(int(receives), int(receives), "check_guest")

    def check_nothing(self, count: int) -> None:
        """That words or bits are zero."""
        self._check()
        self._ledger.begin("check", count)
        self._hashes(1, 1, "check")

    def _told(self, operation: str, teller: str, hearer: str, words: int) -> None:
        self._ledger.begin(operation, words)
        own = self._ledger.name
        self._ledger.add(sent=words if own == teller else 0, received=words if own == hearer else 0)

    def integers(self, count: int) -> None:
        self._begin("integers", count, 2)
        self._as_words(count)

    def _as_words(self, count: int) -> None:
        for _ in range(2):
            self._product(count)

    def select(self, count: int) -> None:
        self._begin("select", count, 3)
        self._as_words(count)
        self._product(count)

    def shuffle(self, shape: tuple[int, int]) -> None:
        for _ in range(3):
            self._begin("shuffle", prod(shape), shuffle_rounds(shape[0]))
            for _ in range(shuffle_rounds(shape[0])):
                self._product(benes.padded(shape[0]) // 2 * shape[1])

    def sums_by(self, owner: str, count: int, shape: tuple[int, int]) -> None:
        self.share("share", owner, shape[0], shape[0])
        for _ in range(count):
            self.zero(shape[0], group_width(count))
            self.select(prod(shape))

    def open(self, operation: str, elements: int, words: int, to: tuple[str, ...]) -> None:
        self._check()
        self._ledger.open(operation, elements, words, to)
        self._ledger.add(rounds=1)
        self._ledger.both(2)
        before = self._ledger.computing[self._ledger.after(self._ledger.computing[0]) - 1]
        self._hashes(int(before in to), int(self._ledger.name in to), operation)

    def announce(self, owner: str) -> None:
        self._ledger.announce(owner)
        self._hashes(2, 2, "announce")

    def _hashes(self, sent: int, received: int, operation: str) -> None:
        self._ledger.costs.add(operation, Cost(sent_bytes=HASH_BYTES * sent, received_bytes=HASH_BYTES * received))

    def _check(self) -> None:
        self._check_products()
        self._check_gates()

    def _check_products(self) -> None:
        products, self._products = self._products, []
        for lot in lots(products, MOST_PRODUCTS):
            count = sum(part.stop - part.start for _, part in lot)
            self._ledger.costs.add("verify_random", random_products_cost(count))
            self._ledger.costs.add("verify", products_check_cost(count, len(lot)))

    def _check_gates(self) -> None:
        while self._gate_words:
            words = min(self._gate_words, MOST_GATE_WORDS)
            self._ledger.costs.add("verify_bits", gate_check_cost(words))
            self._gate_words -= words
