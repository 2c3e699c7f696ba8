"""Keys that the two parties of a match in bins add, in bins of their own behind the others, with words as values.

All know them, and what must be found there: so a fault in matching that loses a part of all keys, or of their values,
ends the join instead of its loss going unnoticed. They are no proof against a party that knows what it does.

    loses one key in ten    missed with probability 0.9^64, that is 0.1 %
"""

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from mpc.errors import ProtocolError
from mpc.joins.joined import BOOL
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.psi.canaries import CANARIES
from mpc.sharing.engine import Engine
from mpc.sharing.ring import U64
from mpc.sharing.values import Bits, Secret

_DOMAIN_KEYS = b"sealane/join.canary/1\0"
_DOMAIN_WORDS = b"sealane/join.canary.words/1\0"


def digests(session: bytes) -> U64:
    """What is asked for in their bins (64 x 4 words), in a join of that session."""
    return _words(_DOMAIN_KEYS, session, CANARIES, 4)


def values(session: bytes, rows: int) -> U64:
    """What they have in place of so many words a key (rows x 64)."""
    return _words(_DOMAIN_WORDS, session, rows, CANARIES)


def _words(domain: bytes, session: bytes, *shape: int) -> U64:
    out = np.empty(shape, np.uint64)
    Prg(blake2b(domain, digest_size=SEED_BYTES, salt=session).digest()).fill(out.reshape(-1))
    return out


def check(
    engine: Engine, session: bytes, asker: str, found: Mapping[str, Secret], hits: Mapping[str, Bits] | None = None
) -> None:
    """Raise `ProtocolError` unless all were found: by other party, words in their bins (rows x 64), opened here, and
    whether these are matches, where that is found in another way.
    """
    words = engine.open(engine.concatenate(list(found.values()))).view(np.uint64)
    matched = np.ones((len(found), CANARIES), np.bool_)
    if hits is not None:
        matched = engine.open(engine.concatenate([bits.reshape(1, -1) for bits in hits.values()]))
    for (name, secret), hit in zip(found.items(), matched, strict=True):
        rows = secret.shape[0]
        _check(engine.name, asker, name, hit & (words[:rows] == values(session, rows)).all(axis=0))
        words = words[rows:]


def _check(me: str, asker: str, name: str, right: BOOL) -> None:
    if not right.all():
        suspects = " or ".join(peer for peer in (asker, name) if peer != me)
        raise ProtocolError(
            f"{suspects}: {np.count_nonzero(~right)} of the {CANARIES} keys that both added were not found, "
            "in step 'match keys'",
            hint="the result would miss keys: report this together with all parties' releases",
        )
