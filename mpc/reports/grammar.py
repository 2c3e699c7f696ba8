"""From a text to a syntax tree: bounded, one SELECT, and none of SQL but what a report may have.

sqlglot parses (DuckDB's dialect). A node that is not expected where it stands is refused with what would be; nothing
is passed on because it is unknown. An error says where in the text, and repeats no literal.
"""

import re
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from mpc.errors import InputError
from mpc.reports.params import MAX_SQL_CHARACTERS

MAX_TOKENS = 2000
MAX_NESTING = 40
SUPPORTED = (
    "a report is: SELECT group keys and aggregates FROM party.dataset JOIN party.dataset USING (key) WHERE conditions "
    "GROUP BY keys HAVING COUNT(*) >= n ORDER BY selected columns LIMIT n; see docs/reports.md"
)

_UNQUOTED = re.compile(r"""(?<!["'\w.-])[a-z0-9_]+(-[a-z0-9_]+)+\.\w""")  # a party's name with "-", and a dataset
_QUOTED = 'a name with "-" stands in double quotes, as in "hk-bank".cards'
_CLAUSES = {"expressions", "from_", "joins", "where", "group", "having", "order", "limit", "kind"}
_NAMES = {
    "with_": "WITH", "distinct": "SELECT DISTINCT", "offset": "OFFSET", "qualify": "QUALIFY", "windows": "WINDOW",
    "sample": "SAMPLE", "laterals": "LATERAL", "pivots": "PIVOT", "into": "INTO",
}  # fmt: skip


def refuse(what: str, hint: str = SUPPORTED) -> InputError:
    """The error for something that a report cannot have."""
    return InputError(f"the report's SQL: {what}", hint=hint)


def parse(sql: str) -> exp.Select:
    """The one SELECT that `sql` is, with no clause beyond a report's; raises `InputError`."""
    _check_text(sql)
    try:
        tokens = sqlglot.tokenize(sql, dialect="duckdb")
        _check_tokens(tokens)
        statements = sqlglot.parse(sql, dialect="duckdb")
    except SqlglotError as error:
        place = (getattr(error, "errors", None) or [{}])[0]
        where = f" at line {place['line']}, column {place['col']}" if place.get("line") else ""
        raise refuse(f"cannot be parsed{where}", _QUOTED if _UNQUOTED.search(sql) else SUPPORTED) from None
    except RecursionError:
        raise refuse("is nested too deeply") from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Select):
        raise refuse("is not one SELECT")
    select = statements[0]
    for clause in sorted(given(select)):
        if clause not in _CLAUSES:
            raise refuse(f"{_NAMES.get(clause, clause.strip('_').upper())} is not supported")
    return select


def given(node: exp.Expr) -> set[str]:
    """The names of the parts that a node has."""
    return {name for name, value in node.args.items() if value not in (None, False, [], "")}


def only(node: exp.Expr, *parts: str) -> None:
    """Raise unless the node has no parts but these."""
    extra = sorted(given(node) - set(parts))
    if extra:
        raise refuse(f"{words(node)} with {extra[0].strip('_').upper()} is not supported")


def words(node: Any) -> str:
    """What a node is, in words that repeat no literal."""
    if isinstance(node, exp.Anonymous):
        return f"the function {str(node.this)[:40]}"
    return {"Func": "a function"}.get(type(node).__name__, type(node).__name__.upper())


def _check_text(sql: str) -> None:
    if len(sql) > MAX_SQL_CHARACTERS:
        raise refuse(f"has {len(sql)} characters (at most {MAX_SQL_CHARACTERS})")
    if not all(character.isprintable() or character in "\n\t\r" for character in sql):
        raise refuse("has a character that is not printed, so that people could not read what they approve")


def _check_tokens(tokens: list[Any]) -> None:
    if len(tokens) > MAX_TOKENS:
        raise refuse(f"has {len(tokens)} words and signs (at most {MAX_TOKENS})")
    depth = deepest = 0
    for token in tokens:
        if token.comments:
            raise refuse("has a comment; who approves a report reads what it does", "leave comments out")
        depth += token.token_type in _OPENING
        depth -= token.token_type in _CLOSING
        deepest = max(deepest, depth)
    # A sign before a sign nests as well, though there is no bracket.
    chain = longest = 0
    for token in tokens:
        chain = chain + 1 if token.token_type in _PREFIXES else 0
        longest = max(longest, chain)
    if deepest + longest > MAX_NESTING:
        raise refuse(f"is nested more than {MAX_NESTING} deep")


_OPENING = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_PREFIXES = {TokenType.DASH, TokenType.PLUS, TokenType.NOT, TokenType.TILDE}
