"""The policy decision: what is allowed, why not, and what the smallest grant would be."""

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError, PolicyDenied
from parties import policy
from parties.policy import ANY, Allowed, Grant, Refused, Request, decide

NOW = 1_800_000_000.0
OWN, PEER, OTHER, STRANGER = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
NAMES = {OWN: "bank-a", PEER: "bank-b", OTHER: "telecom-c", STRANGER: "nobody"}


def request(**changes: object) -> Request:
    base = Request(
        peers=(PEER,),
        names=NAMES,
        protocol="psi.ecdh",
        dataset="customers",
        columns=("id", "age"),
        available=("id", "age", "income"),
        purpose="fraud alerts",
        receivers=(PEER,),
        minimum_result=50,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def grant(**changes: object) -> Grant:
    base = Grant(
        id="3f2a",
        peer=PEER,
        protocol="psi.ecdh",
        dataset="customers",
        columns=("id", "age"),
        purpose="fraud alerts",
        receivers=(PEER,),
        min_result=50,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def refusal(want: Request, *grants: Grant, now: float = NOW) -> Refused:
    decision = decide(want, grants, now)
    assert isinstance(decision, Refused)
    return decision


def allowed(want: Request, *grants: Grant, now: float = NOW) -> Allowed:
    decision = decide(want, grants, now)
    assert isinstance(decision, Allowed)
    return decision


def test_nothing_is_allowed_without_a_grant() -> None:
    assert refusal(request()).reason == "bank-b has no grant"


def test_an_exact_grant_allows_and_waits_for_a_person() -> None:
    assert allowed(request(), grant()) == Allowed((grant(),), automatic=False)


def test_a_job_is_automatic_only_when_every_peer_s_grant_is() -> None:
    want = request(peers=(PEER, OTHER))
    one, two = grant(automatic=True), grant(id="2", peer=OTHER, automatic=True)
    assert allowed(want, one, two).automatic
    assert not allowed(want, one, replace(two, automatic=False)).automatic


def test_any_protocol_column_purpose_and_receiver_can_be_granted() -> None:
    wide = grant(protocol=ANY, columns=(ANY,), purpose=ANY, receivers=(ANY,), min_result=0)
    assert allowed(request(columns=("income",), receivers=(OWN, OTHER), purpose="x", minimum_result=0), wide)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"columns": ("id", "income")}, "allows columns id, age; the job also asks for income"),
        ({"protocol": "sharing.sum"}, "allows psi.ecdh; the job runs sharing.sum"),
        ({"purpose": "marketing"}, "allows the purpose 'fraud alerts'; the job's is 'marketing'"),
        ({"receivers": (PEER, OTHER)}, "allows results for bank-b; the job also gives them to telecom-c"),
        ({"minimum_result": 49}, "demands a minimum result of 50 or more; the job's is 49"),
        ({"dataset": "loans"}, "is for dataset customers; the job asks for dataset loans"),
        ({"dataset": "", "columns": ()}, "is for dataset customers; the job asks for no dataset"),
    ],
)
def test_a_refusal_names_the_rule_that_failed(changes: dict[str, object], reason: str) -> None:
    assert refusal(request(**changes), grant()).reason == f"bank-b: grant 3f2a {reason}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"revoked": True}, "was revoked"),
        ({"expires_at": int(NOW)}, "has expired"),
        ({"max_uses": 2, "uses": 2}, "is used up (2 of 2 uses)"),
    ],
)
def test_an_ended_grant_allows_nothing_and_says_why(changes: dict[str, object], reason: str) -> None:
    assert refusal(request(), grant(**changes)).reason == f"bank-b: grant 3f2a {reason}"


def test_a_grant_holds_until_the_second_it_expires() -> None:
    assert allowed(request(), grant(expires_at=int(NOW)), now=NOW - 1)


def test_the_grant_that_is_debited_needs_no_person_has_uses_without_limit_and_ends_first() -> None:
    held = [
        grant(id="5", automatic=True, expires_at=int(NOW) + 10),
        grant(id="4", automatic=True, expires_at=int(NOW) + 20),
        grant(id="2", automatic=True),
        grant(id="3", automatic=True),
        grant(id="1", automatic=True, max_uses=5, expires_at=int(NOW) + 5),
        grant(id="0", expires_at=int(NOW) + 1),
    ]
    for first in range(len(held)):
        assert allowed(request(), *reversed(held[first:])).grants == (held[first],)


def test_the_closest_grant_is_the_one_explained() -> None:
    far = grant(id="1", dataset="loans", protocol="sharing.sum")
    near = grant(id="2", columns=("id",))
    assert "grant 2 allows columns id; the job also asks for age" in refusal(request(), far, near).reason


def test_several_failures_are_counted() -> None:
    reason = refusal(request(), grant(id="2", columns=("id",), purpose="marketing")).reason
    assert reason == (
        "bank-b: grant 2 (1) allows columns id; the job also asks for age, "
        "(2) allows the purpose 'marketing'; the job's is 'fraud alerts'"
    )


def test_a_grant_of_another_protocol_is_not_blamed_for_having_no_rules() -> None:
    wanted = request(protocol="report.sql", uses={"id": frozenset({"join"})})
    assert refusal(wanted, grant()).reason == "bank-b: grant 3f2a allows psi.ecdh; the job runs report.sql"


def test_every_other_member_needs_a_grant_of_its_own() -> None:
    refused = refusal(request(peers=(PEER, OTHER)), grant())
    assert refused.reason == "telecom-c has no grant"
    assert [suggested.peer for suggested in refused.suggested] == [OTHER]
    assert refusal(request(), grant(peer=OTHER)).reason == "bank-b has no grant"


def test_the_hint_is_the_exact_command_quoted_for_a_shell() -> None:
    refused = refusal(
        request(purpose="it's $(urgent); rm", columns=("id", "net income"), available=("id", "net income"))
    )
    line = refused.hint.splitlines()[1]
    assert shlex.split(line) == [
        *("sealane", "grant", "add", "bank-b", "--protocol", "psi.ecdh", "--dataset", "customers"),
        *("--column", "id", "--column", "net income", "--purpose", "it's $(urgent); rm", "--receiver", "bank-b"),
        *("--expires", "2027-01-22T08:00:00Z", "--max-uses", "1", "--min-result", "50"),
    ]
    with pytest.raises(PolicyDenied, match="bank-b has no grant") as caught:
        raise refused.error()
    assert caught.value.hint == refused.hint


def test_an_unknown_dataset_is_refused_whatever_is_granted_and_suggests_nothing() -> None:
    refused = refusal(request(available=None), grant())
    assert refused.reason == "no dataset 'customers' is registered here"
    assert refused.suggested == ()


def test_an_unknown_column_is_refused_even_when_any_is_granted() -> None:
    refused = refusal(request(columns=("id", "salary")), grant(columns=(ANY,)))
    assert refused.reason == "dataset customers has no column salary"


def test_columns_without_a_dataset_are_refused() -> None:
    assert "names no dataset" in refusal(request(dataset="")).reason


def test_a_party_without_data_takes_part_under_a_grant_that_names_no_dataset() -> None:
    want = request(dataset="", columns=(), available=None)
    assert allowed(want, grant(dataset="", columns=()))
    assert isinstance(decide(want, [grant()], NOW), Refused)


def test_what_a_peer_is_told_says_nothing_about_the_reason() -> None:
    assert not any(word in policy.TOLD_TO_PEER for word in ("dataset", "grant", "column"))


@pytest.mark.parametrize("field", ["protocol", "dataset", "purpose"])
def test_a_job_cannot_ask_for_anything_at_all(field: str) -> None:
    with pytest.raises(InputError, match="meaning in grants only"):
        request(**{field: ANY})
    with pytest.raises(InputError, match="meaning in grants only"):
        request(columns=(ANY,), available=(ANY,))
    with pytest.raises(InputError, match="meaning in grants only"):
        request(receivers=(ANY,))


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\u202eb", "a\u2028b", "a\ud800b"])
def test_text_that_could_forge_the_operator_s_screen_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="control character"):
        request(purpose=text)
    with pytest.raises(InputError, match="control character"):
        grant(purpose=text)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": ANY},
        {"receivers": ()},
        {"max_uses": 0},
        {"min_result": -1},
        {"uses": -1},
        {"epsilon_millionths": 0},
        {"epsilon_millionths": 1_000_000_001},
        {"epsilon_millionths": 1, "dataset": "", "columns": ()},
        {"epsilon_millionths": 1, "purpose": ANY},
    ],
)
def test_a_senseless_grant_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        grant(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"peers": ()}, {"receivers": ()}, {"peers": (PEER, PEER)}, {"peers": ("e" * 64,)}, {"receivers": ("x",)}],
)
def test_a_request_is_about_registered_parties_each_once(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        request(**changes)


fingerprints = st.sampled_from([OWN, PEER, OTHER])
columns = st.lists(st.sampled_from(["id", "age", "income"]), unique=True, max_size=3).map(tuple)
requests = st.builds(
    Request,
    peers=st.lists(st.sampled_from([PEER, OTHER]), unique=True, min_size=1).map(tuple),
    names=st.just(NAMES),
    protocol=st.sampled_from(["p", "q"]),
    dataset=st.sampled_from(["d", "e"]),
    columns=columns,
    available=st.just(("id", "age", "income")),
    purpose=st.sampled_from(["", "x", "it's"]),
    receivers=st.lists(fingerprints, unique=True, min_size=1).map(tuple),
    minimum_result=st.integers(0, 3),
)
grants_of = st.builds(
    Grant,
    peer=st.sampled_from([PEER, OTHER]),
    protocol=st.sampled_from(["p", "q", ANY]),
    dataset=st.sampled_from(["d", "e"]),
    columns=columns | st.just((ANY,)),
    purpose=st.sampled_from(["", "x", ANY]),
    receivers=st.lists(fingerprints, unique=True, min_size=1).map(tuple) | st.just((ANY,)),
    expires_at=st.none() | st.sampled_from([int(NOW), int(NOW) + 1]),
    max_uses=st.none() | st.integers(1, 2),
    min_result=st.integers(0, 3),
    automatic=st.booleans(),
    uses=st.integers(0, 2),
    revoked=st.booleans(),
)
sets_of_grants = st.lists(grants_of, max_size=6).map(
    lambda found: [replace(one, id=str(i)) for i, one in enumerate(found)]
)


@given(requests, sets_of_grants, st.data())
def test_removing_a_grant_never_allows_more(want: Request, held: list[Grant], data: st.DataObject) -> None:
    fewer = data.draw(st.lists(st.sampled_from(held), unique_by=id)) if held else []
    before, after = decide(want, held, NOW), decide(want, fewer, NOW)
    if isinstance(after, Allowed):
        assert isinstance(before, Allowed)
        assert before.automatic or not after.automatic


@given(requests, sets_of_grants)
def test_the_smallest_grants_suggested_do_allow(want: Request, held: list[Grant]) -> None:
    decision = decide(want, held, NOW)
    if isinstance(decision, Refused):
        assert isinstance(decide(want, [*held, *decision.suggested], NOW), Allowed)
        for left_out in decision.suggested:
            rest = [one for one in decision.suggested if one is not left_out]
            assert isinstance(decide(want, [*held, *rest], NOW), Refused)


@given(requests, sets_of_grants)
def test_ended_grants_are_never_used(want: Request, held: list[Grant]) -> None:
    decision = decide(want, held, NOW)
    if isinstance(decision, Allowed):
        assert not any(policy.unusable(one, NOW) for one in decision.grants)
        assert [one.peer for one in decision.grants] == list(want.peers)


@given(requests, sets_of_grants, st.randoms(use_true_random=False))
def test_the_order_of_grants_does_not_matter(want: Request, held: list[Grant], random: object) -> None:
    shuffled = list(held)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(want, held, NOW) == decide(want, shuffled, NOW)
