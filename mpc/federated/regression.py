"""Vertical logistic, linear and Poisson regression without an arbiter: one label holder, one to nine feature holders.

Rows are aligned by `mpc.federated.alignment`. The label holder and its partner, the first feature holder by name, hold
shares of all weights, scores, residuals and gradients, modulo 2^128, or of scores that are clipped modulo 2^64.
Products of a party's columns and shares are computed under Paillier (`mpc.federated.regression_products`); the
piecewise sigmoid, the exponential, class weights, l1 and validation errors by secure comparison and multiplication
between the two (`mpc.sharing`). Further feature holders bring products of their own columns. At the end every party is
given the shares of the weights of its own columns.

Output:   each party its own part of the model: the weights of its own columns, the label holder the intercept too. The
          receivers' tables hold one row: how many rows and epochs there were.
Leaks:    what the alignment tells; how many features each party has. With early stopping, the label holder learns the
          mean squared error over the validation rows after each epoch, and all learn which epoch was best and when
          training stopped. No score, residual, gradient or weight of another party is opened to anybody.
Security: semi-honest; Paillier (decisional composite residuosity, and the assumption that `encryption` names), masks
          within 2^-40 of uniform for each element, and what `mpc.sharing` takes for its two-party setting. Any parties
          together learn nothing more, unless the label holder and its partner are both among them: those two together
          know all shares. A party's own weights tell it something of the others' columns, as any trained model does.
          A party that departs from the protocol can spoil the model unnoticed.
Checks:   every ciphertext and key is a unit of the agreed size; every length; columns are scaled so that no sum wraps.
Cost:     a batch of b rows and d features in all costs the pair 2·b encryptions and b·d products, and about
          2·b·(1 + 1/10)·key_bits/4 bytes. Comparisons add 50 to 250 bytes a row each way, Poisson's exponential 3,700.
Source:   Chen et al., KDD 2021, arxiv.org/abs/2008.08753; its share of the weights, with matrix products as there,
          generalised to more feature holders.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.declarations import (
    KEY_SLOT,
    SECONDS_TO_CHECK,
    SECONDS_TO_DECRYPT,
    SECONDS_TO_ENCRYPT,
    ciphertext_work,
)
from mpc.federated.regression_params import Params, Parties
from mpc.job import Job
from mpc.psi.params import Params as KeyParams
from mpc.psi.params import check_keys
from mpc.sharing.links import Links
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_regression_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.model import Model
    from mpc.federated.regression_data import Loaded
    from mpc.federated.regression_products import Products
    from mpc.federated.regression_training import Trained
    from mpc.primitives.paillier import PublicKey

KIND = "regression"
MODEL_VERSION = 2
MAX_FEATURES = 1000


def run(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party, whatever its role.

    Facts: those of the alignment, "epochs", "features" (own) and "clipped" (own numbers beyond the range).
    """
    from mpc.federated.regression_data import load
    from mpc.federated.regression_residuals import residuals_of
    from mpc.federated.regression_training import train
    from mpc.psi.table import one_row

    params, who = party.params, Parties.of(party.job)
    aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
    loaded = load(party, tables, aligned.rows)
    products, columns = _start(party, who, loaded.data.x.shape[1])
    residuals = None
    if products.paired:
        residuals = residuals_of(party, who, columns, loaded.data.training_rows)
    trained = train(products, residuals, params, columns, loaded.data, party.progress)
    facts = {
        **aligned.facts,
        "epochs": trained.epochs,
        "features": len(loaded.scaling.names),
        "clipped": loaded.clipped,
    }
    summary = {"rows": len(aligned.rows), "features": sum(columns.values()), "epochs": trained.epochs}
    table = one_row(summary) if party.name in party.job.receivers else None
    return Outcome(table, facts, model=_model(party, loaded, trained, summary).to_bytes())


def _start(party: Party[Params], who: Parties, columns: int) -> "tuple[Products, dict[str, int]]":
    """Exchange keys and numbers of columns."""
    from mpc.federated.regression_products import Products
    from mpc.primitives import ring128
    from mpc.primitives.paillier import Encryptor, PrivateKey

    params, links = party.params, Links(party.peers)
    key = PrivateKey.generate(party.rng, params.key_bits) if party.name in who.pair else None
    start = wire.Start(columns=columns, outputs=params.outputs, public_key=key.public.to_bytes() if key else b"")
    for peer in party.peers:
        links.send(peer, start)
    counts, theirs = {party.name: columns}, {}
    for peer in party.peers:
        other = links.recv(peer, wire.Start)
        if other.outputs != params.outputs or not 1 <= other.columns <= MAX_FEATURES + 1:
            raise ProtocolError(f"{peer}: brings {other.columns} columns for {other.outputs} outputs")
        counts[peer] = other.columns
        if peer in who.pair:
            theirs[peer] = _public_key(peer, other.public_key, params.key_bits)
        elif other.public_key:
            raise ProtocolError(f"{peer}: sent a key, and holds no shares")
    own = Encryptor(key, party.rng, params.encryption) if key else None
    encryptors = {peer: Encryptor(public, party.rng, params.encryption) for peer, public in sorted(theirs.items())}
    score_bits = 64 if params.clips else ring128.BITS
    products = Products(party.name, who, links, party.rng, key, own, encryptors, score_bits)
    return products, {n: counts[n] for n in who.all}


def _public_key(peer: str, data: bytes, bits: int) -> "PublicKey":
    from mpc.primitives.paillier import PublicKey

    try:
        return PublicKey.from_bytes(data, bits)
    except ProtocolError as error:
        raise ProtocolError(f"{peer}: {error}") from error


def _model(party: Party[Params], loaded: "Loaded", trained: "Trained", sizes: Mapping[str, int]) -> "Model":
    """The party's own part: weights of standardised columns, and how those are standardised."""
    import numpy as np

    from mpc.federated.model import Feature, Model

    label, params = loaded.label, party.params
    holds_intercept = label is not None and params.intercept
    weights = trained.weights[:-1] if holds_intercept else trained.weights
    intercept = trained.weights[-1] if holds_intercept else np.zeros(params.outputs)
    importance = np.abs(weights).max(axis=1)
    content: dict[str, Any] = {}
    if label is not None:
        content = {"classes": list(label.classes), "label_mean": label.mean, "label_deviation": label.deviation}
    return Model.of_training(
        party,
        KIND,
        MODEL_VERSION,
        features=tuple(
            Feature(name, "number", float(x)) for name, x in zip(loaded.scaling.names, importance, strict=True)
        ),
        label=party.job.members[party.name].columns.get("label", ("",))[0],
        sizes=dict(sizes),
        metrics={"validation_error": min(trained.validation)} if trained.validation else {},
        revealed=reveals(party.job, params),
        content=content | {"validation_errors": list(trained.validation)},
        arrays={
            "weights": weights,
            "intercept": intercept,
            "mean": loaded.scaling.mean,
            "deviation": loaded.scaling.deviation,
        },
    )


def reveals(job: Job, params: Params) -> dict[str, str]:
    """One sentence a party; see the module's docstring for the same in full."""
    who = Parties.of(job)
    learned = alignment.reveals(job, who.label_holder)
    stopping = ""
    if params.patience:
        stopping = ", which epoch had the least validation error and when training stopped"
    texts = {}
    for name in job.members:
        text = f"{learned[name]}; the weights of its own columns, and how many features each other party has{stopping}"
        if name == who.label_holder and params.patience:
            text += ", and the mean squared validation error after each epoch"
        if name in who.pair:
            other = who.partner if name == who.label_holder else who.label_holder
            text += f"; together with {other} it could learn all rows' scores and all weights"
        texts[name] = text
    return texts


def estimate(job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    """The price of one party's part when all rows of the smallest dataset are common."""
    who = Parties.of(job)
    common = min(rows.values())
    batches = params.epochs * -(-common // params.batch_rows)
    columns = {each: len(member.columns.get("feature", ())) + 1 for each, member in job.members.items()}
    aligning = alignment.estimate(job, who.label_holder, dict(rows), name)
    work = common * params.epochs * params.outputs
    holders = len(who.pair) - (name in who.pair)
    seconds, compared_seconds = work * columns[name] * holders * _SECONDS_A_PRODUCT, 0.0
    ciphertext = params.key_bits // 4
    # A party of the pair sends residuals to each other, and packed scores go back.
    slots = (params.key_bits - 1) // (_CLIPPED_SLOT_BITS if params.clips else _SLOT_BITS)
    to_owners = holders * (work // slots + batches * columns[name] // slots) * ciphertext
    sent, received = to_owners, holders * (work + batches * columns[name]) * ciphertext
    if name in who.pair:
        others = len(job.members) - 1
        a_row = SECONDS_TO_ENCRYPT[params.encryption] + SECONDS_TO_CHECK + SECONDS_TO_DECRYPT / slots
        seconds += work * a_row + batches * _SECONDS_A_BATCH
        sent += others * (work + batches * sum(columns.values())) * ciphertext
        received += others * (work // slots + batches) * ciphertext
        if params.compares:
            compared_seconds = work * (_SECONDS_AN_EXPONENTIAL if params.family == "poisson" else _SECONDS_A_COMPARISON)
            compared = work * (_BYTES_AN_EXPONENTIAL if params.family == "poisson" else _BYTES_A_COMPARISON)
            sent, received = sent + compared, received + compared
    return Estimate(
        seconds=aligning.seconds + seconds * ciphertext_work(params.key_bits) + compared_seconds,
        sent_bytes=aligning.sent_bytes + sent,
        received_bytes=aligning.received_bytes + received,
        peak_bytes=max(aligning.peak_bytes, _BASE_BYTES + _BYTES_A_CIPHERTEXT * min(common, params.batch_rows)),
    )


_SLOT_BITS, _CLIPPED_SLOT_BITS = 192, 128  # of a masked score, for not too many columns
_SECONDS_A_PRODUCT = 3e-6  # both ways; as those in `mpc.federated.declarations`
_SECONDS_A_BATCH = 0.06
_SECONDS_A_COMPARISON, _SECONDS_AN_EXPONENTIAL = 20e-6, 100e-6
_BYTES_A_COMPARISON = 250
_BYTES_AN_EXPONENTIAL = 4000
_BASE_BYTES = 350 * 2**20
_BYTES_A_CIPHERTEXT = 8000


def check(job: Job, params: Params) -> None:
    """Refuse key columns that do not match, and a label holder that brings nothing to learn from."""
    check_keys(job, KeyParams(params.normalisation))
    label_holder = Parties.of(job).label_holder
    if not (params.intercept or job.members[label_holder].columns.get("feature")):
        raise InputError(f"{label_holder}: names no feature, and there is no intercept", hint="name one, or take it")


_FEATURE = "columns of numbers to learn from"

SPEC = Spec(
    name="train.regression",
    version=1,
    summary="Train a logistic, linear or Poisson regression on columns that several parties hold about the same rows.",
    params=Params,
    roles={
        LABEL_HOLDER: Role(
            run,
            {
                "key": KEY_SLOT,
                "label": Slot("number or boolean", least=1, most=1, doc="what to predict"),
                "feature": Slot("number or boolean", most=MAX_FEATURES, doc=_FEATURE),
            },
        ),
        FEATURE_HOLDER: Role(
            run,
            {"key": KEY_SLOT, "feature": Slot("number or boolean", least=1, most=MAX_FEATURES, doc=_FEATURE)},
            most=alignment.MOST_PARTIES - 1,
        ),
    },
    reveals=reveals,
    estimate=estimate,
    check=check,
    minimum_result=lambda params: params.min_rows,
)
