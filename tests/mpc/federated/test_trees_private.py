"""private_split: the search on shares against the same in the clear, what reaches the label holder, and cheating."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_trees_train import Links, assert_same, edited, run_against, telco_first
from tree_parties import BITS, Meddler, case, mixed, plain, run, with_params

from mpc.channel import Channel
from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.trees_grow import (
    LARGEST_LAMBDA,
    LARGEST_WORTH,
    PRIVATE_GRADIENT_BITS,
    WEIGHT_BITS,
    Judging,
    fraction_bits,
)
from mpc.federated.trees_objective import area_under_curve
from mpc.federated.trees_params import TreesParams
from mpc.federated.trees_private import Search, Standing
from mpc.federated.trees_wire import Masking
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.registry import get
from mpc.spec import Party, no_progress
from mpc.testing import InsecureSeededRng, insecure_paillier
from protos import federated_pb2
from protos import federated_trees_pb2 as wire

JOB = Job("train.any", {"bank": Member("any"), "telco": Member("any")}, ("bank",), id="0" * 32)


def search(rows: int, sums: Any, by: list[Judging], bars: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Whose the best split is, its worth, and the feature holder's best, of shared sums (nodes, candidates, 2)."""
    rng = np.random.default_rng(9)
    mask = rng.integers(0, 2**64, sums.shape, np.uint64)
    shares = {"bank": list(sums.astype(np.int64).view(np.uint64) - mask), "telco": list(mask)}

    def part(name: str) -> Any:
        def play(peers: Mapping[str, Channel]) -> Any:
            seeded = InsecureSeededRng(name.encode())
            party: Party[TreesParams] = Party(name, JOB, TreesParams(), peers, seeded, no_progress, bytes(16))
            search, leads = Search(party, "bank", "telco", 1, rows), name == "bank"
            standing = Standing.first(bars if leads else [0] * len(bars))
            standing, places = search.compare(shares[name], by if leads else None, standing)
            owners = search.open_owners(standing)
            return owners, standing.worth, search.open_places(places, range(len(bars)))

        return play

    found = run_parties({name: part(name) for name in shares})
    (owners, own, no_places), (no_owners, other, places) = found["bank"], found["telco"]
    assert no_places is None
    assert no_owners is None
    return owners.tolist(), (own + other).tolist(), places.tolist()


def judged(rows: int, sums: Any, least: int = 1, reg_lambda: int = 0, floor: int = 0) -> Judging:
    return Judging(np.array(sums), least, reg_lambda, floor, fraction_bits(rows), 1.0)


def expected(sums: Any, by: list[Judging], bars: list[int]) -> tuple[list[int], list[int], list[int]]:
    scores = [each.scores(own) for each, own in zip(by, sums, strict=True)]
    most = [int(own.max()) for own in scores]
    owners = [int(own > bar) for own, bar in zip(most, bars, strict=True)]
    return owners, [max(pair) for pair in zip(most, bars, strict=True)], [int(own.argmax()) for own in scores]


@given(data=st.data(), rows=st.sampled_from([50, 3000, 2**20, 2**24]), candidates=st.integers(1, 9))
@settings(max_examples=8, deadline=None)
def test_the_search_finds_the_first_of_the_best_candidates(data: Any, rows: int, candidates: int) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    most = rows << PRIVATE_GRADIENT_BITS
    h = rng.integers(0, most, (3, 1, 1), endpoint=True)
    left_h = (rng.random((3, candidates, 1)) * h).astype(np.int64)
    left_g = rng.integers(-most // 2, most // 2, (3, candidates, 1))
    left_g[1] //= 1000
    left_h[2, ::2] = 1
    sums = np.concatenate([left_g, left_h], axis=2)
    sums = np.concatenate([sums, sums[:, :1]], axis=1)  # the first candidate again, which never wins over itself
    whole = np.concatenate([rng.integers(-most // 2, most // 2, (3, 1)), h[:, :, 0]], axis=1)
    least = int(data.draw(st.sampled_from([1, 1000, LARGEST_LAMBDA])))
    reg_lambda = int(data.draw(st.sampled_from([0, 4096, LARGEST_LAMBDA])))
    by = [judged(rows, own, least, reg_lambda) for own in whole]
    most_worth = [int(each.scores(own).max()) for each, own in zip(by, sums, strict=True)]
    bars = [0, max(most_worth[1], 0), max(most_worth[2] - 1, 0)]
    assert search(rows, sums, by, bars) == expected(sums, by, bars)


@given(g=st.integers(-(2**34), 2**34), h=st.integers(1, 2**34), reg_lambda=st.integers(0, 2**20), rows=st.just(2**22))
@settings(deadline=None)
def test_what_a_split_is_worth_is_that_of_the_definition(g: int, h: int, reg_lambda: int, rows: int) -> None:
    fraction = fraction_bits(rows)
    by = judged(rows, [2 * g, 3 * h], 1, reg_lambda)

    def worth(child_g: int, child_h: int) -> int:
        weight = (abs(child_g) << fraction) // (child_h + reg_lambda)
        return abs(child_g) * min(weight, 2 ** (WEIGHT_BITS + fraction) - 1)

    assert by.scores(np.array([[g, h]]))[0] == worth(g, h) + worth(g, 2 * h)
    assert 2 * (rows << PRIVATE_GRADIENT_BITS) * (2 ** (WEIGHT_BITS + fraction) - 1) <= LARGEST_WORTH


def test_a_child_too_light_is_worth_nothing() -> None:
    by = judged(100, [10, 30], least=10)
    assert (by.scores(np.array([[5, 9], [5, 21], [5, 10], [5, 20]])) == -1).tolist() == [True, True, False, False]


def test_models_are_as_good_as_those_from_open_sums() -> None:
    subject = with_params(mixed(2000, 3), trees=20, min_bin_rows=1)
    labels = subject.tables["bank"]["y"].to_numpy().astype(np.float64)
    areas = [
        area_under_curve(labels, plain(with_params(subject, private_split=private)).fitted.scores[:, 0])
        for private in (False, True)
    ]
    assert abs(areas[0] - areas[1]) < 1e-3


def test_it_works_for_a_label_holder_without_columns_and_for_numbers() -> None:
    tables = dict(mixed(100).tables)
    tables["bank"] = tables["bank"].select(["id", "y"])
    alone = case(tables, private_split=True, trees=1, depth=2, bins=4)
    assert_same(run(alone), alone)
    subject = with_params(
        mixed(100, labels="regression"), private_split=True, trees=1, depth=2, bins=4, share_gains=True
    )
    assert_same(run(subject), subject)


@pytest.mark.parametrize(("gamma", "splits"), [(0.0, 3), (10.0, 2), (15.0, 1), (30.0, 0)])
def test_splits_that_gain_less_than_gamma_are_not_made(gamma: float, splits: int) -> None:
    subject = with_params(mixed(160), private_split=True, trees=1, depth=2, bins=5, gamma=gamma)
    assert sum(owner >= 0 for owner in plain(subject).fitted.forest.trees[0].owner) == splits
    assert_same(run(subject), subject)


def test_the_label_holder_decrypts_no_sum() -> None:
    seen: list[Any] = []
    real = Masking.fields

    def watch(self: Any, words: Any, pairs: int) -> Any:
        seen.append(real(self, words, pairs))
        return seen[-1]

    subject = with_params(mixed(200), private_split=True, trees=1, depth=1, bins=8)
    with patch.object(Masking, "fields", watch):
        run(subject)
    bound = 200 << PRIVATE_GRADIENT_BITS + 1
    assert len(seen) == 1
    assert np.count_nonzero(seen[0] < bound) == 0
    assert len(np.unique(seen[0])) == seen[0].size


def test_messages_beside_those_of_the_computation_on_shares_stay_as_they_are() -> None:
    links = Links()
    run(private_case(), wrap=links.wrap)
    sizes: dict[str, list[tuple[str, int]]] = {}
    for (name, _), record in links.records.items():
        kinds = [(data[1 : 1 + data[0]].decode().rpartition("."), len(data)) for data in record.sent]
        sizes[name] = [(kind, size) for (package, _, kind), size in kinds if package.startswith("sealane.federated")]
    assert sizes == {
        "bank": [
            ("Key", 220),
            ("Tree", 32),
            ("Piece", 12830),
            ("Level", 35),
            ("Choices", 37),
            ("Level", 33),
            ("Tree", 36),
        ],
        "telco": [("Layout", 36), ("Piece", 158), ("Lefts", 48)],
    }


@pytest.mark.parametrize("holders", [("telco", "shop"), ("a", "b", "telco")])
def test_several_feature_holders_find_the_trees_of_the_clear(holders: tuple[str, ...]) -> None:
    subject = with_params(mixed(160, holders=holders), private_split=True, trees=2, depth=2, bins=5, column_sample=0.7)
    assert_same(run(subject), subject)
    deciding = {int(owner) for tree in plain(subject).fitted.forest.trees for owner in tree.owner} - {-1, 0}
    assert len(deciding) >= 2, "more than one feature holder decides, or this shows little"


def test_of_equal_splits_the_first_partys_is_made() -> None:
    tables = dict(mixed(120, holders=("a", "b")).tables)
    tables["b"] = tables["a"]
    tables["bank"] = tables["bank"].select(["id", "y"])
    subject = case(tables, private_split=True, trees=1, depth=2, bins=4)
    assert_same(run(subject), subject)
    assert not (plain(subject).fitted.forest.trees[0].owner == 1).any()


def test_what_is_handed_over_is_masked() -> None:
    links = Links()
    run(with_params(mixed(120, holders=("a", "b")), private_split=True, trees=1, depth=1, bins=4), wrap=links.wrap)
    handed = [message.shares for message in links.messages("a", wire.Standing)]
    assert len(handed) == 2
    assert handed[0] != handed[1]
    words = np.frombuffer(b"".join(handed), np.uint64)
    assert (words > 2**32).all(), "neither whose a split is nor its worth stands there as it is"


@pytest.mark.parametrize("shares", [b"", bytes(15), bytes(32)])
def test_shares_handed_over_are_checked(shares: bytes) -> None:
    subject = with_params(mixed(120, holders=("a", "b")), private_split=True, trees=1, depth=1, bins=4)

    def edit(message: Any) -> list[Any]:
        if isinstance(message, wire.Standing):
            message.shares = shares
        return [message]

    with pytest.raises(ProtocolError, match=rf"^a: hands over {len(shares)} bytes of shares where 16 were due"):
        run(subject, wrap=lambda name, _peer, pipe: Meddler(pipe, edit) if name == "a" else pipe)


@pytest.mark.parametrize("nodes", [[1], [0, 0]])
def test_nodes_to_split_are_checked(nodes: list[int]) -> None:
    choices = [wire.Choice(node=node) for node in nodes]
    error = run_against("bank", wire.Choices, edited(choices=choices), subject=private_case())
    assert "was not judged, or twice" in str(error)


def test_it_says_that_no_sums_are_seen() -> None:
    subject = with_params(mixed(), private_split=True)
    with insecure_paillier():
        said = get("train.boosted_trees").reveals(subject.job, subject.params)
    assert "which party has the best split" in said["bank"]
    assert "sums" not in said["bank"]


def test_more_rows_than_masks_have_room_for_are_refused() -> None:
    from tree_parties import _one_key

    with pytest.raises(InputError, match="too many for private_split"):
        Masking(_one_key(None).public, 2**27)


@pytest.mark.parametrize("holders", [("telco",), ("a", "b")])
def test_the_estimate_is_near_what_is_sent(holders: tuple[str, ...]) -> None:
    links = Links()
    subject = with_params(mixed(400, holders=holders), private_split=True, trees=2, depth=2, bins=16)
    run(subject, wrap=links.wrap)
    rows = dict.fromkeys(subject.tables, 400)
    with insecure_paillier():
        params = subject.params
        estimate = get("train.boosted_trees").estimate(subject.job, params, rows, "bank")
        aligned = alignment.estimate(subject.job, "bank", rows, "bank")
    sent = sum(links.counts["bank", holder].sent_bytes for holder in holders)
    assert 0.6 * sent < estimate.sent_bytes - aligned.sent_bytes < 1.7 * sent


def private_case() -> Any:
    return with_params(telco_first(), private_split=True, depth=1, bins=4)


@pytest.mark.parametrize(
    ("bitmaps", "reason"),
    [
        ([], "0 bitmaps for 1 nodes"),
        ([bytes(12)], "were due"),
        ([bytes(13)], "other rows than were found best"),
        ([b"\xff" * 12 + b"\x0f"], "other rows than were found best"),
    ],
)
def test_rows_that_go_left_are_checked(bitmaps: list[bytes], reason: str) -> None:
    assert reason in str(run_against("telco", wire.Lefts, edited(bitmaps=bitmaps), subject=private_case()))


def test_ciphertexts_are_checked() -> None:
    for cheat in ("bank", "telco"):
        zero = edited(data=bytes(BITS // 4))
        assert "ciphertext" in str(run_against(cheat, federated_pb2.Piece, zero, subject=private_case()))
