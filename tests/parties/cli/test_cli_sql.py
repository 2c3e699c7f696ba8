"""`sealane sql`: explained, refused with what would allow it, proposed."""

import shlex

from tests.parties.cli.driving import Party, World

TEXT = (
    'SELECT hk.id_kind, COUNT(*) AS n FROM "hk-bank".cards AS hk JOIN "cn-bank".accounts AS cn ON hk.id = cn.card '
    "GROUP BY hk.id_kind"
)
SUM = (
    'SELECT SUM(hk.balance) AS total FROM "hk-bank".cards AS hk JOIN "cn-bank".accounts AS cn ON hk.id = cn.card '
    "WHERE cn.city IN ('a', 'b')"
)
REPORT = ("sql", SUM, "--receiver", "hk-bank", "--numbers", "hk-bank.balance=0..9", "--purpose", "wealth")


def test_a_report_is_explained_and_not_proposed(world: World) -> None:
    world.hk("grant", "add", "cn-bank", "--protocol", "report.sql", "--dataset", "cards", "--purpose", "wealth",
             "--receiver", "hk-bank", "--column", "id:join_key", "--column", "balance:aggregate_only")  # fmt: skip
    told = world.hk(*REPORT, "--explain").out
    for words in ("join, J1", "sum by group", "open released groups", "ROUNDS", "fewer than 10 different people"):
        assert words in told
    assert "which of its keys cn-bank also has" in told
    assert world.hk("job", "list", "--json").json == []


def test_a_level_is_explained_with_what_it_tells_whom(world: World) -> None:
    said = {
        "J0": "which of its keys hk-bank also has",
        "J2": "how many keys hk-bank also has",
        "J3": "rows of one key",
    }
    for level, learned in said.items():
        document = world.hk(*REPORT, "--join", level, "--explain", "--json").json
        assert document["reveals"]["cn-bank"].endswith(learned)
        stage = document["stages"][1]
        assert (stage["name"], stage["who"]) == (f"join, {level}", "both")
        assert {stage["who"] for stage in document["stages"][2:-1]} == {"hk-bank and cn-bank"}


UNION = (
    "SELECT width_bucket(balance, 0, 9, 3) AS band, COUNT(*) AS n, SUM(balance) AS s FROM (SELECT balance FROM "
    '"hk-bank".cards UNION ALL SELECT sum FROM "cn-bank".accounts) AS u GROUP BY band'
)
OF_UNION = ("--receiver", "hk-bank", "--purpose", "wealth", "--numbers", "u.balance=0..9")


def test_a_report_on_a_union_is_explained_and_what_would_allow_it_is_said(world: World) -> None:
    people = ("--person", "hk-bank.id", "--person", "cn-bank.card")
    told = world.hk("sql", UNION, *OF_UNION, *people, "--explain", "--json").json
    assert [stage["name"] for stage in told["stages"]][:2] == [
        "filter and add up own rows",
        "add up all parties' totals",
    ]
    assert "whichever receiver takes its own rows away" in told["reveals"]["hk-bank"]
    assert told["suppression"].startswith("Groups of fewer than 10 different people at one party, less any one")
    apart = world.hk("sql", UNION, *OF_UNION, *people, "--separate-people", "--explain", "--json").json
    assert "different people in total, less any one" in apart["suppression"]
    refused = world.hk("sql", UNION, *OF_UNION, *people, "--yes", "--json", code=3)
    command = refused.error["hint"].splitlines()[-1]
    assert "--protocol report.union" in command
    assert "--column id:join_key --column balance:group_key+aggregate_only" in command
    world.hk(*shlex.split(command)[1:])
    assert world.hk("sql", UNION, *OF_UNION, *people, "--yes", "--json").json["state"] == "waiting"


OF_THREE = (
    'SELECT sg.segment, COUNT(*) AS n, SUM(hk.balance) AS s FROM "hk-bank".cards AS hk JOIN "cn-bank".accounts AS cn '
    "ON hk.id = cn.card JOIN \"sg-bank\".clients AS sg ON hk.id = sg.client WHERE cn.city = 'a' GROUP BY sg.segment"
)


def test_a_report_of_three_parties_is_explained(world: World) -> None:
    sg = Party(world.folder / "sg")
    sg("init", "sg-bank")
    world.hk("peer", "invite", "--out", world.folder / "another")
    sg("peer", "accept", world.folder / "another", "--out", world.folder / "answer", "--yes")
    world.hk("peer", "accept", world.folder / "answer", "--yes")
    options = ("--receiver", "hk-bank", "--purpose", "wealth", "--numbers", "hk-bank.balance=0..9")
    values = ("--values", "sg-bank.segment=private|retail", "--explain")
    told = world.hk("sql", OF_THREE, *options, *values).out
    lines = [line.split("  ")[0] for line in told.splitlines()]
    stages = lines[lines.index("STAGE") + 1 :][:5]
    assert stages == [
        "filter and group own rows", "join, J3", "sum by group", "compare with the minimum", "open released groups",
    ]  # fmt: skip
    words = " ".join(told.split())
    assert "hk-bank and cn-bank and sg-bank" in words
    assert "how many different keys and groups cn-bank and sg-bank have after their own conditions" in words
    assert "if it pooled what it holds with cn-bank or sg-bank, what the others brought to the join" in words
    refused = world.hk("sql", OF_THREE, *options, *values, "--join", "J1", "--json", code=2)
    assert "3 parties do not join at J1" in refused.error["message"]
    for level, learned in (("J0", "which of its keys hk-bank and cn-bank all have"), ("J2", "how many keys hk-bank")):
        document = world.hk("sql", OF_THREE, *options, *values, "--join", level, "--json").json
        assert learned in document["reveals"]["sg-bank"]


def test_a_verified_report_of_two_is_computed_with_a_third_without_a_table(world: World) -> None:
    sg = Party(world.folder / "sg")
    sg("init", "sg-bank")
    world.hk("peer", "invite", "--out", world.folder / "another")
    sg("peer", "accept", world.folder / "another", "--out", world.folder / "answer", "--yes")
    world.hk("peer", "accept", world.folder / "answer", "--yes")
    alone = " ".join(world.hk(*REPORT, "--explain").out.split())
    assert "The figures rest on both hk-bank and cn-bank following the protocol" in alone
    document = world.hk(*REPORT, "--verified", "--computes", "sg-bank", "--explain", "--json").json
    assert document["integrity"].startswith("The figures hold even if one of cn-bank, hk-bank and sg-bank departs")
    assert document["reveals"]["sg-bank"].startswith("which groups are released, and no figures")
    assert "check what was brought" in [stage["name"] for stage in document["stages"]]
    refused = world.hk(*REPORT, "--verified", "--json", code=2)
    assert "2 parties cannot verify each other's shares" in refused.error["message"]
    refused = world.hk(*REPORT, "--computes", "sg-bank", "--json", code=2)
    assert "in a verified report" in refused.error["message"]


def test_options_of_the_other_kind_of_report_are_refused(world: World) -> None:
    for words, sentence in (
        ((UNION, "--join", "J3"), "--join is for reports on joins"),
        ((UNION, "--epsilon", "1"), "--epsilon is for reports on joins"),
        ((SUM, "--person", "hk-bank.id"), "--person is for reports on unions"),
        ((SUM, "--separate-people"), "--separate-people is for reports on unions"),
        ((UNION, "--person", "hk-bank"), "--person is written PARTY.COLUMN"),
        ((UNION,), "name the columns that tell them apart"),
    ):
        told = world.hk("sql", *words, "--receiver", "hk-bank", "--json", code=2)
        assert sentence in told.error["message"]


def test_an_explanation_is_one_document(world: World) -> None:
    document = world.hk(*REPORT, "--explain", "--json").json
    assert len(document["plan"]) == 64
    assert document["filters"] == {"hk-bank": 0, "cn-bank": 1}
    assert [stage["name"] for stage in document["stages"]][:2] == ["filter and group own rows", "join, J1"]
    assert "cn-bank has no grant" in document["refusal"]["message"]
    assert "Your policy refuses it: cn-bank has no grant" in world.hk(*REPORT, "--explain").out


def test_a_refused_report_says_the_smallest_grant_which_then_allows_it(world: World) -> None:
    refused = world.hk(*REPORT, "--yes", "--json", code=3)
    command = refused.error["hint"].splitlines()[-1]
    assert "--column id:join_key --column balance:aggregate_only" in command
    world.hk(*shlex.split(command)[1:])
    proposed = world.hk(*REPORT, "--yes", "--json").json
    assert proposed["state"] == "waiting"
    (listed,) = world.hk("grant", "list", "--all", "--json").json
    assert listed["rules"] == {"id": ["join_key"], "balance": ["aggregate_only"]}


def test_noise_is_explained_with_what_it_costs_and_what_is_left(world: World) -> None:
    world.hk("grant", "add", "cn-bank", "--protocol", "report.sql", "--dataset", "cards", "--purpose", "wealth",
             "--receiver", "hk-bank", "--column", "id:join_key", "--column", "balance:aggregate_only",
             "--epsilon", "2")  # fmt: skip
    noisy = (*REPORT, "--join", "J3", "--epsilon", "0.5", "--person-rows", "cn-bank=2", "--explain")
    told = world.hk(*noisy).out
    for words in ("epsilon 0.5", "OFF BY ABOUT", "BUDGET", "By noisy counts", "whatever its conditions"):
        assert words in " ".join(told.split())
    document = world.hk(*noisy, "--json").json
    assert document["epsilon"] == "0.5"
    # hk's people have one row of at most 9, joined with two; a quarter of epsilon, and two parties' noise.
    assert document["deviations"] == {"total": 2 * 2 * 2 * 9 * 8}
    assert document["budgets"] == [
        {"dataset": "cards", "peer": "cn-bank", "purpose": "wealth", "budget": "2", "spent": "0"}
    ]
    assert world.hk("grant", "budgets", "--json").json == document["budgets"]
    assert "wealth" in world.hk("grant", "budgets").out
    proposed = world.hk(*noisy[:-1], "--yes", "--json").json
    shown = world.hk("job", "show", proposed["id"]).out
    assert "each attempt costs epsilon 0.5" in " ".join(shown.split())
    refused = world.hk(*REPORT, "--yes", "--json", code=3)
    assert "has a privacy budget" in refused.error["message"]


def test_what_cannot_be_a_report_is_refused_in_a_sentence(world: World) -> None:
    for words, sentence in (
        (("SELECT 1",), "has no FROM"),
        ((SUM,), "has no declared bounds"),
        ((SUM, "--numbers", "hk-bank.balance"), "--numbers is written COLUMN=LOWER..UPPER"),
        ((SUM, "--numbers", "hk-bank.balance=0..9", "--values", "hk-bank.kind"), "--values is written COLUMN=A|B"),
        ((SUM, "--person-rows", "hk-bank=2"), "--person-rows is for reports with noise"),
        ((SUM, "--epsilon", "1", "--person-rows", "2"), "--person-rows is written PARTY=N"),
        ((TEXT, "--values", "hk-bank.id_kind=1|2", "--values", "hk-bank.x=1"), "the report does not use it"),
    ):
        told = world.hk("sql", *words, "--receiver", "hk-bank", "--json", code=2)
        assert sentence in told.error["message"]


def test_a_name_with_a_dash_is_asked_for_in_quotes(world: World) -> None:
    text = "SELECT COUNT(*) AS n FROM hk-bank.cards AS hk JOIN cn-bank.accounts AS cn ON hk.id = cn.card"
    told = world.hk("sql", text, "--receiver", "hk-bank", "--json", code=2).error
    assert "cannot be parsed at line 1" in told["message"]
    assert told["hint"] == 'a name with "-" stands in double quotes, as in "hk-bank".cards'
