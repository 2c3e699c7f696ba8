"""Every state with every event."""

import pytest

from parties.jobs.states import ENDED, OPEN, Event, IllegalTransition, State, ending, next_state

_GIVEN_UP = {State.DENIED, State.EXPIRED}
_ENDS = {
    Event.FAIL: State.FAILED,
    Event.DENY: State.DENIED,
    Event.CANCEL: State.CANCELLED,
    Event.EXPIRE: State.EXPIRED,
}
_LEGAL = {
    Event.APPROVE: ({State.PROPOSED}, State.WAITING),
    Event.START: ({State.WAITING, State.RUNNING, State.STOPPED, State.FINISHED}, State.RUNNING),
    Event.POSTPONE: ({State.RUNNING, State.STOPPED, State.FINISHED}, State.WAITING),
    Event.FINISH: ({State.RUNNING}, State.FINISHED),
    Event.STOP: ({State.PROPOSED, State.WAITING, State.RUNNING}, State.STOPPED),
    Event.SUCCEED: ({State.FINISHED}, State.SUCCEEDED),
    Event.SUCCEED_WITHOUT: ((OPEN - {State.PROPOSED}) | {State.EXPIRED}, State.SUCCEEDED),
    **{event: (OPEN | _GIVEN_UP, state) for event, state in _ENDS.items()},
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_each_state_takes_the_events_it_should_and_refuses_the_others(state: State, event: Event) -> None:
    states, outcome = _LEGAL[event]
    if state in states:
        assert next_state(state, event) is outcome
    else:
        with pytest.raises(IllegalTransition, match=str(state)):
            next_state(state, event)


def test_only_a_party_that_gave_up_by_itself_leaves_an_end_again() -> None:
    for state in ENDED - _GIVEN_UP:
        for event in Event:
            with pytest.raises(IllegalTransition):
                next_state(state, event)


def test_an_outcome_is_announced_by_its_name() -> None:
    assert {outcome: ending(outcome) for outcome in ENDED} == {
        State.SUCCEEDED: Event.SUCCEED,
        **{state: event for event, state in _ENDS.items()},
    }
    for outcome in (*OPEN, "", "SUCCEEDED", "succeed without"):
        with pytest.raises(ValueError, match="not a way to end"):
            ending(outcome)
