"""The states of a job at one party, and what moves it from one to the next. Pure.

The party that proposes a job coordinates it: it alone starts attempts and decides how the job ends, and it can end it
as succeeded only with the signature of every party that was not lost, that its part is done. So a party that has not
signed may give up on a silent coordinator, and one that has signed waits for its word.

    proposed  waiting for this party's decision
    waiting   approved here; waiting for the others, or for a free worker
    running   an attempt is under way
    stopped   this party's part of the attempt ended without result; the coordinator decides what follows
    finished  this party's part is done and signed, its result held; the coordinator decides what follows
    succeeded, failed, denied, cancelled, expired   ended
"""

from enum import StrEnum


class State(StrEnum):
    PROPOSED = "proposed"
    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(StrEnum):
    APPROVE = "approve"  # this party approves the exact digest
    START = "start"  # the coordinator starts an attempt, the first or a later one
    POSTPONE = "postpone"  # the coordinator will start another attempt
    FINISH = "finish"  # the own worker delivered its result
    STOP = "stop"  # the own worker ended without result, or was ended
    SUCCEED = "succeed"  # the coordinator holds every party's signature
    SUCCEED_WITHOUT = "succeed without"  # it holds those of all but this party, whom the protocol could do without
    FAIL = "fail"
    DENY = "deny"
    CANCEL = "cancel"
    EXPIRE = "expire"


OPEN = frozenset({State.PROPOSED, State.WAITING, State.RUNNING, State.STOPPED, State.FINISHED})
ENDED = frozenset(State) - OPEN

_ENDINGS = {
    Event.FAIL: State.FAILED,
    Event.DENY: State.DENIED,
    Event.CANCEL: State.CANCELLED,
    Event.EXPIRE: State.EXPIRED,
}

_STEPS = {
    (State.PROPOSED, Event.APPROVE): State.WAITING,
    (State.WAITING, Event.START): State.RUNNING,
    (State.RUNNING, Event.START): State.RUNNING,
    (State.STOPPED, Event.START): State.RUNNING,
    (State.FINISHED, Event.START): State.RUNNING,
    (State.RUNNING, Event.POSTPONE): State.WAITING,
    (State.STOPPED, Event.POSTPONE): State.WAITING,
    (State.FINISHED, Event.POSTPONE): State.WAITING,
    (State.RUNNING, Event.FINISH): State.FINISHED,
    (State.PROPOSED, Event.STOP): State.STOPPED,
    (State.WAITING, Event.STOP): State.STOPPED,
    (State.RUNNING, Event.STOP): State.STOPPED,
    (State.FINISHED, Event.SUCCEED): State.SUCCEEDED,
    # A party that denied the job, or gave up at the deadline, takes the coordinator's word for how it ended.
    **{(State.DENIED, event): state for event, state in _ENDINGS.items()},
    **{(State.EXPIRED, event): state for event, state in _ENDINGS.items()},
    # So does one that was lost on the way, at any time after it approved.
    **{
        (state, Event.SUCCEED_WITHOUT): State.SUCCEEDED
        for state in (State.WAITING, State.RUNNING, State.STOPPED, State.FINISHED, State.EXPIRED)
    },
}


class IllegalTransition(ValueError):
    """The event cannot happen in that state."""


def next_state(state: State, event: Event) -> State:
    """The state after `event`; raises `IllegalTransition` if it cannot happen in `state`."""
    if state in OPEN and event in _ENDINGS:
        return _ENDINGS[event]
    try:
        return _STEPS[state, event]
    except KeyError:
        raise IllegalTransition(f"a job that is {state} cannot {event}") from None


def ending(outcome: str) -> Event:
    """The event that ends a job as `outcome`; raises `ValueError` if that is no way to end."""
    if outcome == State.SUCCEEDED:
        return Event.SUCCEED
    for event, state in _ENDINGS.items():
        if state == outcome:
            return event
    raise ValueError("not a way to end a job")
