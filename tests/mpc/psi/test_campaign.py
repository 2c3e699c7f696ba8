"""The campaign of random sets in small: nothing is lost or added, and it would notice if something were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.psi import campaign
from mpc.spec import Outcome


@pytest.mark.parametrize(("protocol", "runs"), [("psi.vole", 10), ("psi.vole_buckets", 5), ("psi.multi", 5)])
def test_no_row_is_lost_or_added_whatever_the_overlap_the_roles_and_the_release(protocol: str, runs: int) -> None:
    results = [campaign.attempt(protocol, 1500, 7, run, {}, "here") for run in range(runs)]
    assert {result.overlap for result in results} == set(campaign.OVERLAPS)
    assert [result.common for result in results[:2]] == [0, 1]
    assert [result for result in results if not result.right] == []


def test_a_row_that_is_lost_added_or_out_of_place_is_counted() -> None:
    drawn = campaign.draw("psi.ecdh", 100, 7, 3, {})
    trial = replace(drawn, job=replace(drawn.job, receivers=("a",)))
    expected = [key for key in trial.keys["a"].tolist() if key in set(trial.common.tolist())]
    other = next(key for key in trial.keys["a"].tolist() if key not in expected)

    def judged(keys: list[int]) -> list[int]:
        return list(campaign.judge(trial, {"a": Outcome(campaign.table_of(np.array(keys)))}).values())

    assert judged(expected) == [0, 0, 0]
    assert judged(expected[1:]) == [1, 0, 1]
    assert judged([*expected, other]) == [0, 1, 1]
    assert judged([*expected, expected[0]]) == [0, 1, 1]
    assert judged(expected[::-1]) == [0, 0, 1]


def test_a_run_that_ends_in_an_error_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise campaign.SealaneError("no")

    monkeypatch.setattr(campaign, "run_job", broken)
    result = campaign.attempt("psi.vole", 10, 7, 0, {}, "here")
    assert result.error == "SealaneError: no"
    assert not result.right


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for runs in (2, 3):
        arguments = ["--log", str(log), "--size", "50", "--runs", str(runs), "--protocol", "psi.ecdh"]
        campaign.main(arguments, standalone_mode=False)
        log.write_text(log.read_text() + '{"cut off')
    campaign.mend(log)
    results = campaign.read(log)
    assert [result.run for result in results] == [0, 1, 2]
    assert "3 runs (1 none, 1 one, 1 1 %, 0 half, 0 all)" in campaign.report(results)
