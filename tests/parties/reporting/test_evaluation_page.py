import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from mpc.errors import InputError
from mpc.federated.evaluation import evaluate
from parties.reporting.evaluation import html_page, shown

VOID = {"meta"}


class Structure(HTMLParser):
    """Collects the elements of a page, and fails for one that is not closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.counts, self.targets, self.words = [], {}, [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.targets += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.targets += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def binary():
    rng = np.random.default_rng(0)
    p = rng.random(300)
    return evaluate((rng.random(300) < p).astype(float), p, "binary")


def test_a_page_has_every_measure_and_plot_and_loads_nothing():
    evaluation = binary()
    page = html_page(evaluation, title="Default", facts={"model": "a" * 32}, fit={"validation error": [0.3, 0.2]})
    found = Structure(page)
    assert found.counts["svg"] == 7
    assert found.counts.get("image") is None, "the page may not load images, not even those inside it"
    assert found.counts.get("script") is None
    assert all(target.startswith("#") for target in found.targets)
    assert all(shown(value) in found.words for value in evaluation.measures.values())
    names = ("AUC", "KS", "average precision", "log loss", "Brier score", "accuracy", "precision", "recall", "F1")
    assert all(name in found.words for name in names)
    assert "Confusion at the threshold 0.5" in found.words
    assert "a" * 32 in found.words
    assert page == html_page(
        evaluation, title="Default", facts={"model": "a" * 32}, fit={"validation error": [0.3, 0.2]}
    )


@pytest.mark.parametrize("task", ["number", "count", "multiclass"])
def test_other_tasks_have_pages_too(task):
    rng = np.random.default_rng(1)
    if task == "multiclass":
        evaluation = evaluate(np.arange(60) % 3.0, rng.dirichlet([1, 1, 1], 60), task)
    else:
        evaluation = evaluate(np.arange(60) % 7.0, rng.random(60) + 0.1, task)
    found = Structure(html_page(evaluation, title="Model"))
    assert found.counts["svg"] == 1
    assert found.counts.get("image") is None


def test_classes_are_called_by_their_labels():
    labels = np.arange(60) % 3.0
    evaluation = evaluate(
        labels, np.eye(3)[(labels + (labels == 2)).astype(int) % 3], "multiclass", classes=[10, 20, 30]
    )
    assert evaluation.tables["confusion"]["label"] == [10, 20, 30]
    assert evaluation.tables["confusion"]["called_10"] == [20, 0, 20]
    assert evaluation.tables["classes"]["recall"] == [1, 1, 0]
    assert evaluation.tables["classes"]["precision"] == [0.5, 1, 0]
    assert "called 30" in Structure(html_page(evaluation, title="Model")).words


def test_the_fit_has_a_plot_for_each_kind_of_value():
    fit = {"training loss": [3, 2], "validation loss": [4, 3], "training auc": [0.5, 0.6]}
    found = Structure(html_page(binary(), title="Model", fit=fit))
    assert "Fit by epoch or tree: loss" in found.words
    assert "Fit by epoch or tree: auc" in found.words


def test_figures_are_shown_as_people_read_them():
    assert [shown(value) for value in (0.81631, 1179.0, 1234567.0, 1e-7, 0.0)] == [
        "0.8163",
        "1,179",
        "1,234,567",
        "1e-07",
        "0",
    ]


def test_text_is_shown_and_not_run():
    page = html_page(binary(), title="<script>alert(1)</script>", facts={"<b>": "<img src=x>"})
    found = Structure(page)
    assert "script" not in found.counts and "img" not in found.counts
    assert "<script>alert(1)</script>" in found.words


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match="not installed") as error:
        html_page(binary(), title="x")
    assert "node.txt" in error.value.hint
