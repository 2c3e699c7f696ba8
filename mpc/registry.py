"""Every protocol this release speaks, one line each."""

from typing import Any

from mpc.errors import InputError
from mpc.federated import (
    features_correlation,
    features_woe,
    regression,
    regression_horizontal,
    regression_horizontal_use,
    regression_predict,
    serving,
    trees_evaluate,
    trees_predict,
    trees_train,
)
from mpc.psi import cardinality, dry_run, ecdh, multi, vole, vole_buckets
from mpc.reports import report, union
from mpc.sharing import masked_statistics, program
from mpc.spec import Spec

_ALL: tuple[Spec[Any], ...] = (
    dry_run.SPEC,
    ecdh.SPEC,
    cardinality.SPEC,
    vole.SPEC,
    vole_buckets.SPEC,
    multi.SPEC,
    masked_statistics.SPEC,
    program.SPEC,
    report.SPEC,
    union.SPEC,
    regression.SPEC,
    regression_predict.SPEC,
    regression_predict.EVALUATE,
    regression_horizontal.SPEC,
    regression_horizontal_use.SPEC,
    trees_train.SPEC,
    trees_predict.SPEC,
    trees_evaluate.SPEC,
    serving.SPEC_TREES,
    serving.SPEC_REGRESSION,
    features_woe.SPEC,
    features_correlation.SPEC,
)

SPECS = {spec.name: spec for spec in _ALL}


def get(name: str) -> Spec[Any]:
    """The protocol of that name; raises `InputError` naming those there are."""
    try:
        return SPECS[name]
    except KeyError:
        raise InputError(f"no protocol {name!r}, only {', '.join(sorted(SPECS))}") from None
