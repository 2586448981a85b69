"""Bugs: small changes of a function's source, each undone by putting one text back in place of another.

A change is made in the text, not by printing a changed syntax tree, so that comments, layout and line numbers stay and
the reverse patch restores the file byte for byte.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.FloorDiv: "%", ast.Mod: "//", ast.Div: "//",
}  # fmt: skip
_RIVALS = {"max": "min", "min": "max", "sum": "max", "any": "all", "all": "any", "len": "sum", "sorted": "list"}


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug in a source text.

    Attributes:
        kind: comparison, arithmetic, constant, boolean, condition, name, call, arguments or statement.
        start: where in the text. before, after: what stood there, and what the bug puts there.
    """

    kind: str
    start: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The source with the bug."""
        return self._replace(source, self.before, self.after)

    def undo(self, source: str) -> str:
        """The source without it."""
        return self._replace(source, self.after, self.before)

    def _replace(self, source: str, old: str, new: str) -> str:
        end = self.start + len(old)
        assert source[self.start : end] == old, "this is not the text that the bug belongs to"
        return source[: self.start] + new + source[end:]


def mutations(source: str, function: str) -> list[Mutation]:
    """All bugs of one function of a module, in the order of the text; each leaves valid Python of as many lines.

    Args:
        source: a module in ASCII, so that columns of the syntax tree are columns of the text.
        function: the name of a function at the module's top level.
    """
    assert source.isascii()
    node = next(one for one in ast.parse(source).body if isinstance(one, ast.FunctionDef) and one.name == function)
    text = _Text(source)
    found = [change for inner in ast.walk(node) for change in _changes(inner, text, node)]
    unique = {(one.start, one.before, one.after): one for one in found if one.before != one.after}
    return sorted(
        (one for one in unique.values() if _is_valid(one.apply(source)) and "\n" not in one.before),
        key=lambda one: (one.start, one.after),
    )


class _Text:
    """A source, and where its syntax nodes lie in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._lines[node.end_lineno - 1] + node.end_col_offset

    def of(self, node: ast.expr | ast.stmt) -> str:
        return self.source[self.start(node) : self.end(node)]

    def replaced(self, kind: str, node: ast.expr | ast.stmt, after: str) -> Mutation:
        """A mutation that puts something in the place of a node."""
        return Mutation(kind, self.start(node), self.of(node), after)

    def between(self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[Mutation]:
        """A mutation of the sign between two nodes."""
        start, end = self.end(left), self.start(right)
        at = self.source.find(old, start, end)
        if at >= 0:
            yield Mutation(kind, at, old, new)


_SIGNS: dict[type[ast.AST], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.In: "in",
    ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not", ast.Add: "+", ast.Sub: "-", ast.Mult: "*",
    ast.FloorDiv: "//", ast.Mod: "%", ast.Div: "/",
}  # fmt: skip


def _changes(node: ast.AST, text: _Text, function: ast.FunctionDef) -> Iterator[Mutation]:
    """The bugs that can be made at one node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        kind = type(node.ops[0])
        yield from text.between("comparison", node.left, node.comparators[0], _SIGNS[kind], _COMPARISONS[kind])
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        kind_of = type(node.op)
        yield from text.between("arithmetic", node.left, node.right, _SIGNS[kind_of], _OPERATORS[kind_of])
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield text.replaced("constant", node, str(node.value + 1))
        if node.value > 0:
            yield text.replaced("constant", node, str(node.value - 1))
    elif isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        yield from text.between("boolean", node.values[0], node.values[1], old, new)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield text.replaced("boolean", node, text.of(node.operand))
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield text.replaced("condition", node.test, f"not ({text.of(node.test)})")
    elif isinstance(node, ast.Call):
        yield from _call_changes(node, text)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        parameters = [one.arg for one in function.args.args]
        if node.id in parameters:
            yield from (text.replaced("name", node, other) for other in parameters if other != node.id)
    elif isinstance(node, (ast.AugAssign, ast.Delete)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield text.replaced("statement", node, "pass")


def _call_changes(node: ast.Call, text: _Text) -> Iterator[Mutation]:
    """Another function in its place, or two arguments the other way round."""
    if isinstance(node.func, ast.Name) and node.func.id in _RIVALS:
        yield text.replaced("call", node.func, _RIVALS[node.func.id])
    if len(node.args) == 2 and not node.keywords:
        first, second = node.args
        swapped = text.of(second) + text.source[text.end(first) : text.start(second)] + text.of(first)
        yield Mutation("arguments", text.start(first), text.source[text.start(first) : text.end(second)], swapped)


def _is_valid(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True
