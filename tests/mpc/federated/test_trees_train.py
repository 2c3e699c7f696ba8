"""train.boosted_trees against the same algorithm in the clear, and with a party that cheats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from tree_parties import (
    BITS,
    Case,
    Meddler,
    case,
    mixed,
    plain,
    real,
    run,
    with_params,
)

from mpc.channel import CountingPipe, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError, SealaneError
from mpc.federated import trees_train
from mpc.federated.model import Model
from mpc.federated.model_card import model_card
from mpc.federated.trees_forest import Forest, Rules, forest_of, rules_from
from mpc.federated.trees_label_side import RemoteSide
from mpc.job import Job
from mpc.local import run_job
from mpc.primitives.paillier import Encryptor, PrivateKey
from mpc.registry import get
from mpc.spec import Outcome
from mpc.testing import InsecureSeededRng, RecordingPipe, insecure_paillier
from protos import federated_pb2
from protos import federated_trees_pb2 as wire


def parts(outcomes: Mapping[str, Outcome]) -> tuple[Forest, dict[str, Rules]]:
    """The trees, and each party's rules, as they were kept."""
    models = {name: Model.from_bytes(outcome.model) for name, outcome in outcomes.items()}
    owners = models["bank"].content["owners"]
    rules = {name: rules_from(models[name]) for name in owners}
    return forest_of(models["bank"], len(owners)), rules


def assert_same(outcomes: Mapping[str, Outcome], subject: Case) -> None:
    """Every node, weight, gain, edge and category is that of the training in the clear, to the last bit."""
    forest, rules = parts(outcomes)
    expected = plain(subject)
    assert forest.start.tolist() == expected.fitted.forest.start.tolist()
    assert len(forest.trees) == len(expected.fitted.forest.trees)
    for ours, theirs in zip(forest.trees, expected.fitted.forest.trees, strict=True):
        for name in ("owner", "rule", "left", "right", "weight", "gain", "rows"):
            assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()
    assert set(rules) == set(expected.rules)
    for name, own in rules.items():
        for what in ("feature", "edge", "category", "missing_left", "tree"):
            assert list(getattr(own, what)) == list(getattr(expected.rules[name], what))


@pytest.mark.parametrize("labels", ["binary", "regression", "multiclass"])
@pytest.mark.parametrize("holders", [("telco",), ("telco", "shop", "court")])
def test_trees_are_those_of_training_in_the_clear(labels: str, holders: Sequence[str]) -> None:
    subject = mixed(labels=labels, holders=holders)
    outcomes = run(subject)
    assert_same(outcomes, subject)
    forest, _ = parts(outcomes)
    assert {owner for tree in forest.trees for owner in tree.owner.tolist()} == set(range(-1, len(holders) + 1))


@pytest.mark.parametrize(
    "params",
    [
        {"depth": 1},
        {"depth": 6, "min_node_rows": 2, "min_child_weight": 0.0, "min_bin_rows": 1},
        {"row_sample": 0.5, "column_sample": 0.5},
        {"goss_top": 0.2, "goss_rest": 0.3},
        {"validation": 0.3, "patience": 2, "trees": 8, "learning_rate": 1.0},
        {"local_trees": 2},
        {"shuffle": False},
        {"gamma": 3.0, "reg_lambda": 0.0, "bins": 200},
        {"bins": 2, "min_node_rows": 200},
        {"encryption": "strict"},
        {"private_split": True, "bins": 8, "trees": 2},
        {"private_split": True, "bins": 5, "trees": 2, "local_trees": 1, "reg_lambda": 0.0, "row_sample": 0.7},
    ],
    ids=lambda params: "-".join(params),
)
def test_trees_are_the_same_whatever_the_parameters(params: dict[str, Any]) -> None:
    subject = with_params(mixed(), **params)
    assert_same(run(subject), subject)


def test_trees_are_the_same_for_a_label_holder_without_columns() -> None:
    tables = dict(mixed().tables)
    tables["bank"] = tables["bank"].select(["id", "y"])
    subject = case(tables)
    assert_same(run(subject), subject)


@pytest.mark.parametrize(
    ("name", "key", "label", "params"),
    [
        ("breast_hetero", "id", "y", {}),
        ("motor_hetero", "idx", "motor_speed", {"objective": "regression"}),
        ("vehicle_scale_hetero", "id", "y", {"objective": "multiclass", "classes": 4, "trees": 1}),
        ("default_credit_3000", "id", "y", {"trees": 1}),
    ],
)
def test_trees_are_the_same_on_real_data(name: str, key: str, label: str, params: dict[str, Any]) -> None:
    subject = case(real(name, key), label, **{"trees": 2, **params})
    assert_same(run(subject), subject)


def test_a_node_is_split_by_the_first_party_and_column_of_those_equally_good() -> None:
    """telco's two columns and shop's one say the same; bank's says nothing."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=100)
    y = (x > 0).astype(np.int64)
    copies = {"id": np.arange(100), "first": x, "second": x}
    tables = {
        "bank": pa.table({"id": np.arange(100), "y": y, "noise": np.tile([0, 1], 50)}),
        "shop": pa.table({"id": np.arange(100), "one": x}),
        "telco": pa.table(copies),
    }
    for holders, names in (("telco", ["first"]), ("shop telco", ["one"])):
        subject = case({name: tables[name] for name in ["bank", *holders.split()]}, trees=2)
        outcomes = run(subject)
        assert_same(outcomes, subject)
        used = [
            row["feature"]
            for name in holders.split()
            for row in outcomes[name].table.to_pylist()  # type: ignore[union-attr]
            if row["splits"]
        ]
        assert used == names


def test_real_alignment_and_a_table_in_another_order_give_the_same_trees() -> None:
    subject = mixed(150)
    tables = {"bank": subject.tables["bank"], "telco": subject.tables["telco"].take(list(range(149, -1, -1)))}
    extra = tables["telco"].slice(0, 5).set_column(0, "id", pa.array([1000 + i for i in range(5)]))
    with insecure_paillier():
        outcomes = run_job(subject.job, tables | {"telco": pa.concat_tables([extra, tables["telco"]])})
    assert_same(outcomes, subject)
    assert outcomes["bank"].facts["common_rows"] == 150
    assert outcomes["telco"].facts["own_rows"] == 155


# What each is left with.


def test_the_label_holder_gets_a_row_a_round_and_a_feature_holder_a_row_a_column() -> None:
    subject = with_params(mixed(), trees=3, validation=0.25)
    outcomes, expected = run(subject), plain(subject).fitted.rounds
    rounds = outcomes["bank"].table
    assert rounds is not None
    assert rounds["round"].to_pylist() == [1, 2, 3]
    assert rounds["kept"].to_pylist() == [True] * 3
    for name in ("training_loss", "validation_loss", "training_auc", "validation_auc"):
        assert rounds[name].to_pylist() == [getattr(after, name) for after in expected]
    columns = outcomes["telco"].table
    assert columns is not None
    assert columns.column_names == ["feature", "splits"]
    assert sum(columns["splits"].to_pylist()) == outcomes["telco"].facts["own_splits"] > 0


def test_gains_reach_a_feature_holder_only_if_that_was_agreed() -> None:
    subject = with_params(mixed(), share_gains=True)
    outcomes = run(subject)
    forest, rules = parts(outcomes)
    table = outcomes["telco"].table
    assert table is not None
    for index, row in enumerate(table.to_pylist()):
        mine = [tree.gain[tree.owner == 1] for tree in forest.trees]
        assert row["gain"] == pytest.approx(np.concatenate(mine)[rules["telco"].feature == index].sum())
    silent = run(mixed())
    assert [feature.importance for feature in Model.from_bytes(silent["telco"].model).features] == silent[
        "telco"
    ].table["splits"].to_pylist()  # type: ignore[union-attr]


def test_only_receivers_get_a_table_and_all_get_their_part_of_the_model() -> None:
    subject = mixed()
    outcomes = run(subject, replace(subject.job, receivers=("bank",)))
    assert outcomes["bank"].table is not None
    assert outcomes["telco"].table is None
    assert all(outcome.model for outcome in outcomes.values())


def test_a_part_names_neither_columns_nor_values_of_another_party() -> None:
    outcomes = run(mixed())
    assert b"amount" not in outcomes["bank"].model
    assert b"city3" not in outcomes["bank"].model
    assert b"city3" in outcomes["telco"].model
    assert b"age" not in outcomes["telco"].model


def test_the_card_of_a_part_says_sizes_parameters_metrics_and_what_was_revealed() -> None:
    model = Model.from_bytes(run(mixed())["bank"].model)
    assert model.sizes == {"rows": 240, "training_rows": 240, "trees": 3}
    assert model.parameters["depth"] == 3
    assert 0 < model.metrics["training_loss"] < 0.7
    assert model.revealed == get("train.boosted_trees").reveals(mixed().job, model_params(mixed()))
    assert "which suggests which rows have like labels" in model_card(model)


def model_params(subject: Case) -> Any:
    with insecure_paillier():
        return subject.params


# What passes the wire.


class Links:
    """What each party sent, by (party, peer)."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], RecordingPipe] = {}
        self.counts: dict[tuple[str, str], CountingPipe] = {}

    def wrap(self, name: str, peer: str, pipe: Pipe) -> Pipe:
        self.records[name, peer] = RecordingPipe(pipe)
        self.counts[name, peer] = CountingPipe(self.records[name, peer])
        return self.counts[name, peer]

    def messages(self, name: str, kind: type[Message]) -> list[Any]:
        wanted = kind.DESCRIPTOR.full_name.encode()
        return [
            kind.FromString(data[1 + data[0] :])
            for (owner, _), record in self.records.items()
            if owner == name
            for data in record.sent
            if data[1 : 1 + data[0]] == wanted
        ]


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    links = Links()
    run(mixed(100), wrap=links.wrap)
    digests = {name: RecordingPipe.digest(record.sent[1:]) for (name, _), record in links.records.items()}
    assert digests == {
        "bank": "ff313a925d137c1cced1923081540de68e27d3f04d90d94fdb8b86050bbb4a40",
        "telco": "7b8bce8f5477e0d3e389b5721e91fc5024d12af59260f970056553de4f41ce62",
    }


def test_every_ciphertext_that_goes_back_is_fresh_and_packed() -> None:
    links = Links()
    subject = with_params(mixed(), trees=1, depth=1)
    run(subject, wrap=links.wrap)
    (layout,) = links.messages("telco", wire.Layout)
    width = BITS // 4
    slot = (2**20 * 240).bit_length() + 1
    per = (BITS - 2) // (2 * slot)
    back = b"".join(piece.data for piece in links.messages("telco", federated_pb2.Piece))
    assert len(back) == width * -(-layout.candidates // per)
    again = Links()
    with patch.object(Encryptor, "rerandomise", lambda _self, ciphertexts: ciphertexts):
        run(subject, wrap=again.wrap)
    bare = b"".join(piece.data for piece in again.messages("telco", federated_pb2.Piece))
    pairs = [(back[i : i + width], bare[i : i + width]) for i in range(0, len(back), width)]
    assert all(fresh != kept for fresh, kept in pairs)


def test_only_counted_rows_are_encrypted_and_only_the_smaller_children_measured() -> None:
    links = Links()
    subject = with_params(mixed(200), trees=2, depth=3, row_sample=0.25)
    run(subject, wrap=links.wrap)
    width = BITS // 4
    sent = b"".join(piece.data for piece in links.messages("bank", federated_pb2.Piece))
    assert len(sent) == 2 * 50 * width
    families = sum(len(level.families) + level.root for level in links.messages("bank", wire.Level))
    layouts = links.messages("telco", wire.Layout)
    back = b"".join(piece.data for piece in links.messages("telco", federated_pb2.Piece))
    per = (BITS - 2) // (2 * ((2**20 * 200).bit_length() + 1))
    assert len(back) <= width * (families * -(-max(each.candidates for each in layouts) // per))


def test_the_first_trees_on_the_label_holder_alone_send_nothing() -> None:
    links = Links()
    run(with_params(mixed(), trees=3, local_trees=2), wrap=links.wrap)
    assert [tree.number for tree in links.messages("bank", wire.Tree) if not tree.finished] == [2]


def test_candidates_come_in_another_order_for_each_tree_if_shuffled() -> None:
    def orders(shuffle: bool) -> list[list[list[int]]]:
        seen: list[list[list[int]]] = []
        received = RemoteSide._receive_sums

        def watch(self: Any, total: int) -> Any:
            sums = received(self, total)
            seen.append(sums.tolist())
            return sums

        with patch.object(RemoteSide, "_receive_sums", watch):
            run(with_params(mixed(), trees=1, depth=1, shuffle=shuffle))
        return seen

    (plainly,), (shuffled,) = orders(False), orders(True)
    assert plainly != shuffled
    assert sorted(plainly) == sorted(shuffled)


def test_the_estimate_is_near_what_is_sent() -> None:
    links = Links()
    subject = with_params(mixed(400), trees=4)
    run(subject, wrap=links.wrap)
    estimate = get("train.boosted_trees").estimate(
        subject.job, model_params(subject), {"bank": 400, "telco": 400}, "bank"
    )
    from mpc.federated import alignment

    aligned = alignment.estimate(subject.job, "bank", {"bank": 400, "telco": 400}, "bank")
    sent = links.counts["bank", "telco"].sent_bytes
    assert 0.7 * sent < estimate.sent_bytes - aligned.sent_bytes < 1.5 * sent


# Input that cannot be used.


def broken(name: str, column: str, values: Sequence[Any]) -> Case:
    """The mixed case with one column replaced."""
    subject = mixed(len(values))
    table = subject.tables[name]
    changed = table.set_column(table.column_names.index(column), column, pa.array(values))
    return Case({**subject.tables, name: changed}, subject.job)


@pytest.mark.parametrize(
    ("name", "column", "values", "message"),
    [
        ("bank", "y", [0, 1, 2] * 20, "label column 'y' has other values than 0 and 1"),
        ("bank", "y", [1] * 60, "label column 'y' has the same value"),
        ("bank", "y", [0.0, 1.0, None] * 20, "column 'y', row 3: a value is missing"),
        ("bank", "y", [0.0, 1.0, float("nan")] * 20, "column 'y', row 3: a value is missing"),
        ("bank", "y", [0.0, 1.0, float("inf")] * 20, "column 'y', row 3: infinity"),
        ("bank", "y", ["0", "1"] * 30, "column 'y' is of type string"),
        ("telco", "amount", [1.0, float("-inf")] * 30, "column 'amount', row 2: infinity"),
        ("telco", "amount", [3.5] * 60, "column 'amount' has the same value"),
        ("telco", "amount", [None] * 60, "column 'amount' has the same value"),
        ("telco", "amount", ["a", "b"] * 30, "column 'amount' is of type string"),
        ("telco", "city", [1.5, 2.5] * 30, "column 'city' is of type double"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(name: str, column: str, values: Sequence[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(broken(name, column, values))


@pytest.mark.parametrize(
    ("labels", "message"),
    [([1e200, -1e200], "squares would overflow"), ([1e-200, 2e-200], "differ by less than 1e-100")],
)
def test_labels_that_would_overflow_are_refused(labels: list[float], message: str) -> None:
    subject = mixed(60, labels="regression")
    table = subject.tables["bank"].set_column(1, "y", pa.array(labels * 30))
    with pytest.raises(InputError, match=message):
        run(Case({**subject.tables, "bank": table}, subject.job))


def test_other_numbers_of_classes_than_agreed_are_refused() -> None:
    with pytest.raises(InputError, match="3 different values in the common rows, not the agreed 4 classes"):
        run(with_params(mixed(labels="multiclass"), classes=4))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"goss_top": 0.2}, "goss_top and goss_rest"),
        ({"goss_top": 0.8, "goss_rest": 0.3}, "together are at most 1"),
        ({"goss_top": 0.2, "goss_rest": 0.2, "row_sample": 0.5}, "not by both"),
        ({"patience": 3}, "give validation a share"),
        ({"local_trees": 3}, "no feature holder would take part"),
        ({"classes": 3}, "classes are of objective multiclass"),
        ({"key_bits": 256}, "Paillier key of 256 bits"),
        ({"objective": "ranking"}, "parameters of train.boosted_trees"),
        ({"bins": 1}, "parameters of train.boosted_trees"),
        ({"learning_rate": 0.0}, "parameters of train.boosted_trees"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_params(mixed(), **params).params  # noqa: B018


def test_keys_shorter_than_recommended_are_refused_outside_of_tests() -> None:
    with pytest.raises(InputError, match="Paillier key of 512 bits"):
        get("train.boosted_trees").parse(mixed().job)


@pytest.mark.parametrize(("who", "message"), [("telco", "names columns"), ("bank", "local_trees")])
def test_a_party_without_the_columns_that_its_part_needs_is_refused(who: str, message: str) -> None:
    job = mixed().job
    columns = {slot: names for slot, names in job.members[who].columns.items() if slot in ("key", "label")}
    members = {**job.members, who: replace(job.members[who], columns=columns)}
    changed = Job(job.protocol, members, job.receivers, {**job.params, "local_trees": 1})
    with insecure_paillier(), pytest.raises(InputError, match=f"{who}: .*{message}"):
        get("train.boosted_trees").parse(changed)


# Peers that cheat.


def run_against(
    cheat: str, kind: type[Message], edit: Callable[[Any], Any], *, index: int = 0, subject: Case | None = None
) -> SealaneError:
    """The error that ends the other party when `cheat` edits its message number `index` of a kind."""
    ends: dict[str, BaseException] = {}
    seen = [0]

    def apply(message: Message) -> Sequence[Message]:
        if isinstance(message, kind):
            seen[0] += 1
            if seen[0] == index + 1:
                changed = edit(message)
                return [message if changed is None else changed]
        return [message]

    def watched(role: Any) -> Any:
        def play(party: Any, tables: Any) -> Any:
            try:
                return role.run(party, tables)
            except BaseException as error:
                ends[party.name] = error
                raise

        return replace(role, run=play)

    roles = {name: watched(role) for name, role in trees_train.SPEC.roles.items()}
    with patch.dict(trees_train.SPEC.roles, roles), pytest.raises(SealaneError):
        run(
            mixed(100) if subject is None else subject,
            wrap=lambda name, _peer, pipe: Meddler(pipe, apply) if name == cheat else pipe,
        )
    error = ends["bank" if cheat == "telco" else "telco"]
    assert isinstance(error, ProtocolError)
    assert str(error).startswith(f"{cheat}: ")
    return error


def edited(**fields: Any) -> Callable[[Any], None]:
    """An edit that sets fields of the message."""

    def edit(message: Any) -> None:
        for name, value in fields.items():
            message.ClearField(name)
            if isinstance(value, (list, tuple)):
                getattr(message, name).extend(value)
            else:
                setattr(message, name, value)

    return edit


def other_key() -> PrivateKey:
    with insecure_paillier():
        return PrivateKey.generate(InsecureSeededRng(b"other"), BITS)


def n_squared() -> int:
    from tree_parties import _one_key

    return _one_key(None).public.n_squared


def first_ciphertext(value: int) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        message.data = value.to_bytes(BITS // 4, "little") + message.data[BITS // 4 :]

    return edit


def test_ciphertexts_out_of_range_are_refused_on_both_sides() -> None:
    for cheat in ("bank", "telco"):
        for value in (0, n_squared(), 2 ** (2 * BITS) - 1):
            assert "ciphertext" in str(run_against(cheat, federated_pb2.Piece, first_ciphertext(value)))


def test_pieces_of_another_length_are_refused_on_both_sides() -> None:
    for cheat in ("bank", "telco"):
        for data in (b"", bytes(BITS // 4)):
            assert "ciphertexts have" in str(run_against(cheat, federated_pb2.Piece, edited(data=data)))


def test_sums_under_another_key_are_noticed() -> None:
    with insecure_paillier():
        foreign = Encryptor(other_key(), InsecureSeededRng(b"x"), "fast")
        words = np.ones((1, foreign.public.words), np.uint64)
        value = foreign.encrypt(words).to_ints()[0]
    error = run_against("telco", federated_pb2.Piece, first_ciphertext(value % n_squared()))
    assert "more than packed sums" in str(error) or "no choice of the rows" in str(error)


def test_sums_that_no_rows_have_are_refused() -> None:
    from tree_parties import _one_key

    with insecure_paillier():
        key = _one_key(None)
        words = np.zeros((1, key.public.words), np.uint64)
        words[0, 0] = 1 << 26
        value = Encryptor(key, InsecureSeededRng(b"x"), "fast").encrypt(words).to_ints()[0]
    assert "no choice of the rows" in str(run_against("telco", federated_pb2.Piece, first_ciphertext(value)))


@pytest.mark.parametrize("candidates", [0, 2**31])
def test_a_number_of_candidates_that_cannot_be_is_refused(candidates: int) -> None:
    assert "ways to split" in str(run_against("telco", wire.Layout, edited(candidates=candidates)))


def test_fewer_candidates_than_sums_are_refused() -> None:
    assert "ciphertexts have" in str(run_against("telco", wire.Layout, edited(candidates=1)))


def flipped(message: Any) -> None:
    first = bytearray(message.bitmaps[0])
    first[0] ^= 1
    message.bitmaps[0] = bytes(first)


def too_many_bits(message: Any) -> None:
    message.bitmaps[0] = message.bitmaps[0][:-1] + b"\xff"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (edited(bitmaps=[]), "0 bitmaps for 1 nodes"),
        (edited(bitmaps=[bytes(13)] * 2), "2 bitmaps for 1 nodes"),
        (edited(bitmaps=[bytes(12)]), "12 bytes of rows that go left where 13 were due"),
        (too_many_bits, "bits for more than 100 rows"),
        (flipped, "other rows than its sums were of"),
        (edited(bitmaps=[bytes(13)]), "other rows than its sums were of"),
    ],
)
def test_rows_that_go_left_are_checked(edit: Callable[[Any], Any], reason: str) -> None:
    assert reason in str(run_against("telco", wire.Lefts, edit, subject=telco_first()))


def telco_first() -> Case:
    """A case whose root telco splits: bank has noise alone."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=100)
    bank = pa.table({"id": np.arange(100), "y": (x > 0).astype(np.int64), "noise": rng.normal(size=100)})
    return case({"bank": bank, "telco": pa.table({"id": np.arange(100), "x": x})}, trees=1)


def choice(**fields: Any) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        edited(**fields)(message.choices[0])

    return edit


def doubled(message: Any) -> None:
    message.choices.append(message.choices[0])


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (choice(node=1), "splits a node that was not judged"),
        (doubled, "splits a node that was not judged, or twice"),
        (choice(candidates=[]), "was not offered"),
        (choice(candidates=[10**6]), "was not offered"),
        (choice(candidates=[0] * 10**4), "was not offered"),
    ],
)
def test_choices_are_checked(edit: Callable[[Any], Any], reason: str) -> None:
    assert reason in str(run_against("bank", wire.Choices, edit, subject=telco_first()))


def family(**fields: Any) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        edited(**fields)(message.families[0])

    return edit


def twice(message: Any) -> None:
    message.families.append(message.families[0])


@pytest.mark.parametrize(
    ("edit", "index", "reason"),
    [
        (edited(root=True), 1, "out of its turn"),
        (lambda _m: wire.Level(families=[wire.Family()]), 0, "out of its turn"),
        (family(parent=7), 1, "was not judged"),
        (twice, 1, "was not judged, or twice"),
        (family(left_judged=False, right_judged=False), 1, "neither of them"),
        (family(left=bytes(3)), 1, "bytes of rows that go left"),
        (family(left=b"\x01" + bytes(29)), 1, "fewer than the agreed 10 rows"),
    ],
)
def test_levels_are_checked(edit: Callable[[Any], Any], index: int, reason: str) -> None:
    assert reason in str(run_against("bank", wire.Level, edit, index=index, subject=bank_first()))


def bank_first() -> Case:
    """A case whose root bank splits, and the others telco."""
    rng = np.random.default_rng(4)
    x, z = rng.normal(size=240), rng.normal(size=240)
    bank = pa.table({"id": np.arange(240), "y": (2 * x + z > 0).astype(np.int64), "x": x})
    return case({"bank": bank, "telco": pa.table({"id": np.arange(240), "z": z})}, trees=1)


def test_a_level_deeper_than_agreed_is_refused() -> None:
    subject = with_params(bank_first(), depth=1)
    level = wire.Level(families=[wire.Family(left=b"\xff" * 15 + bytes(15), left_judged=True)])
    assert "deeper than agreed" in str(run_against("bank", wire.Level, lambda _m: level, index=1, subject=subject))


@pytest.mark.parametrize(
    ("edit", "index", "reason"),
    [
        (edited(number=3), 0, "begins tree 3"),
        (edited(number=0), 1, "begins tree 0 after tree 0"),
        (edited(counted=b"\xff" * 13), 0, "bits for more than"),
        (edited(counted=b"\xff" * 12 + b"\x0f"), 0, "counts other rows than were agreed"),
        (edited(kept=4), 3, "keeps 4 trees"),
    ],
)
def test_beginnings_and_ends_are_checked(edit: Callable[[Any], Any], index: int, reason: str) -> None:
    assert reason in str(run_against("bank", wire.Tree, edit, index=index))


@pytest.mark.parametrize("gains", [[], [1.0, 1.0], [float("nan")], [-1.0]])
def test_gains_are_checked(gains: list[float]) -> None:
    subject = with_params(telco_first(), share_gains=True, depth=2)
    assert "gains of" in str(run_against("bank", wire.Tree, edited(gains=gains), index=1, subject=subject))


def test_rows_counted_outside_of_training_are_refused() -> None:
    subject = with_params(mixed(100), validation=0.3, row_sample=0.5)
    every = b"\xff" * 12 + b"\x0f"
    assert "counts other rows" in str(run_against("bank", wire.Tree, edited(counted=every), subject=subject))


def test_a_key_that_is_none_is_refused() -> None:
    size = BITS // 8
    for data in (b"", bytes(3 * size), b"\xff" * 3 * size, (2**BITS - 2).to_bytes(3 * size, "little")):
        assert "Paillier key" in str(run_against("bank", federated_pb2.Key, edited(public_key=data)))


@pytest.mark.parametrize(
    ("cheat", "kind"),
    [("bank", k) for k in (federated_pb2.Key, wire.Tree, federated_pb2.Piece, wire.Level, wire.Choices)]
    + [("telco", k) for k in (wire.Layout, federated_pb2.Piece)],
)
def test_a_message_of_another_type_is_refused(cheat: str, kind: type[Message]) -> None:
    other = wire.Part()
    assert "expected" in str(run_against(cheat, kind, lambda _m: other))


def test_a_feature_holder_that_fails_leaves_the_label_holder_without_a_model() -> None:
    ends: dict[str, Any] = {}

    def fail(_self: Any, *_rest: Any) -> Any:
        raise RuntimeError("as if the process had ended")

    role = trees_train.SPEC.roles["label_holder"]

    def watched(party: Any, tables: Any) -> Any:
        try:
            ends["outcome"] = role.run(party, tables)
        except BaseException as error:
            ends["error"] = error
            raise
        return ends["outcome"]

    from mpc.federated.trees_feature_side import OpenChooser

    with (
        patch.dict(trees_train.SPEC.roles, {"label_holder": replace(role, run=watched)}),
        patch.object(OpenChooser, "choose", fail),
        pytest.raises(RuntimeError, match="as if"),
    ):
        run(mixed(100))
    assert "outcome" not in ends
    assert isinstance(ends["error"], ChannelError)
