"""Small changes to the code of a section: of which statements, by which operators, which sample.

The general operators are those of cosmic-ray; the ones below are the faults of numerical code that
it does not know, such as another axis or a sum for a mean. Every mutant is an edit of one cell.
"""

import ast
import difflib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from .book import BookError, Section
from .grammar import TASK
from .keys import digest

CHECK_CELL = re.compile(r"\s*# check(?: \d|:)")
#: Functions of the helper package that draw, and names of arguments of a function that draws.
DRAWING = {"describe", "plot", "show_images", "heatmap", "sliders", "use_style"}
CANVAS = {"ax", "axes", "fig", "figure"}
#: Of the operators of cosmic-ray, those whose result is likely to run, by family.
GENERAL = {
    "arithmetic": [
        f"ReplaceBinaryOperator_{change}"
        for change in (
            "Add_Sub Sub_Add Mul_Div Mul_Add Div_Mul FloorDiv_Div FloorDiv_Mul Mod_FloorDiv "
            "Pow_Mul BitOr_BitAnd BitAnd_BitOr BitXor_BitAnd"
        ).split()
    ]
    + [f"ReplaceUnaryOperator_{change}" for change in ("Delete_USub", "Delete_Invert")],
    "comparison": [
        f"ReplaceComparisonOperator_{change}"
        for change in (
            "Lt_LtE LtE_Lt Gt_GtE GtE_Gt Lt_Gt Gt_Lt LtE_GtE GtE_LtE Eq_NotEq NotEq_Eq "
            "Eq_LtE Eq_GtE Is_IsNot IsNot_Is"
        ).split()
    ],
    "number": ["NumberReplacer"],
    "boolean": ["ReplaceTrueWithFalse", "ReplaceFalseWithTrue"],
    "logic": ["AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceUnaryOperator_Delete_Not"],
    "loop": ["ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"],
    "exception": ["ExceptionReplacer"],
    "decorator": ["RemoveDecorator"],
}
PLAIN = {"arithmetic", "number"}  # at most half of a sample
FAMILIES = {"arithmetic": 2.0, "number": 2.0, "comparison": 1.5}  # how often, others: 1


@dataclass(frozen=True)
class Edit:
    """A place in the text of a cell, from `start` to `stop`, and what takes its place."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class Mutant:
    """One change to one cell; `old` and `new` are the lines that differ, without indentation."""

    section: str
    cell: int
    line: int  # of the source file
    operator: str
    old: str
    new: str
    source: str = field(repr=False)  # of the changed cell
    before: str = field(repr=False)  # of the cell as it is
    solution: bool = False
    exports: tuple[str, ...] = ()  # names defined by the exported statement that is changed

    @property
    def id(self) -> str:
        """Short digest of the change, the same for as long as the cell's text is."""
        return digest([self.cell, self.before, self.source])[:12]


class Code:
    """The text of a cell and its syntax tree, with places as offsets into the text."""

    def __init__(self, source: str):
        self.source = source
        self.tree = ast.parse(source)
        self.lines = source.splitlines(keepends=True)
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        """Offset of a line, counted from 1, and a column in bytes, as syntax trees have it."""
        return self.starts[line - 1] + len(
            self.lines[line - 1].encode()[:column].decode() if line <= len(self.lines) else ""
        )

    def span(self, node: Any) -> tuple[int, int]:
        """Start and stop of a node."""
        return (
            self.place(node.lineno, node.col_offset),
            self.place(node.end_lineno, node.end_col_offset),
        )

    def text(self, node: ast.AST) -> str:
        """The text of a node."""
        start, stop = self.span(node)
        return self.source[start:stop]

    def replace(self, node: ast.AST, text: str) -> Edit:
        """The edit that puts `text` in the place of a node; the number of lines stays."""
        start, stop = self.span(node)
        missing = self.source[start:stop].count("\n") - text.count("\n")
        return Edit(start, stop, text + "\n" * missing if missing > 0 else text)

    def apply(self, edit: Edit) -> str:
        return self.source[: edit.start] + edit.text + self.source[edit.stop :]


# Which statements may be changed


@dataclass(frozen=True)
class Piece:
    """Code that may be changed: a plain statement, or the head of a compound one."""

    nodes: tuple[ast.AST, ...]  # the parts that count, such as the test of an `if`
    statement: ast.stmt
    plain: bool = False  # a statement, not a head
    weight: float = 1.0
    following: ast.stmt | None = None  # the next statement, if it is plain and may be changed too


class Regions:
    """Finds the pieces of a notebook that are neither checks nor drawings, cell after cell.

    Names that hold axes and functions that draw are remembered from one cell to the next.
    """

    def __init__(self) -> None:
        self.canvas: set[str] = set()
        self.drawers: set[str] = set()
        self.checkers: set[str] = set()

    def pieces(self, code: Code) -> list[Piece]:
        """The pieces of a cell, in order."""
        return list(self._block(code.tree.body))

    def _block(self, body: list[ast.stmt]) -> Iterator[Piece]:
        groups = [list(self._statement(statement)) for statement in body]
        for group, after in zip(groups, [*groups[1:], []], strict=False):
            for piece in group:
                follows = piece.plain and piece is group[0] and after and after[0].plain
                yield replace(piece, following=after[0].statement) if follows else piece

    def _statement(self, node: ast.stmt) -> Iterator[Piece]:
        if self._skipped(node):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
            kept = [d for d in node.decorator_list if "add_to_class" not in ast.unparse(d)]
            yield Piece((*kept, *defaults), node)
            yield from self._block(node.body)
        elif isinstance(node, ast.ClassDef):
            yield from self._block(node.body)
        elif isinstance(node, (ast.For, ast.While, ast.If, ast.With, ast.Try)):
            yield from self._compound(node)
        else:
            yield Piece((node,), node, True, 0.2 if _shown(node) else 1.0)

    def _compound(self, node: Any) -> Iterator[Piece]:
        if isinstance(node, ast.For):
            self._loop(node.target, node.iter)
        inner: list[Piece] = []
        for part in ("body", "orelse", "finalbody"):
            inner += self._block(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            inner += self._block(handler.body)
        heads = {
            ast.For: lambda: [node.iter],
            ast.With: lambda: list(node.items and [i.context_expr for i in node.items]),
            ast.Try: lambda: [h.type for h in node.handlers if h.type],
        }.get(type(node), lambda: [node.test])()
        checked = any(_asserts(s) for s in node.body)
        guards = isinstance(node, ast.If) and any(isinstance(s, ast.Raise) for s in node.body)
        if (inner or guards) and not checked:
            yield Piece(tuple(heads), node)
        yield from inner

    def _skipped(self, node: ast.stmt) -> bool:
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Assert, ast.Pass, ast.Global)):
            return True
        if isinstance(node, (ast.Nonlocal, ast.Raise)):
            return True
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return True  # a docstring
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return self._helper(node)
        if isinstance(node, ast.Try) and _refuses(node):
            return True
        return _asserts(node) and isinstance(node, ast.Expr) or self._draws(node)

    def _helper(self, node: ast.FunctionDef | ast.ClassDef) -> bool:
        """Whether a definition draws, or checks and does nothing else."""
        if isinstance(node, ast.ClassDef):
            return False
        names = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        if names & CANVAS or re.match(r"_?(draw|plot|show)(_|$)", node.name):
            self.drawers.add(node.name)
            return True
        last = node.body[-1]
        if re.match(r"_?(check|assert)(_|$)", node.name) or (
            _asserts(last) and not any(isinstance(n, ast.Return) for n in ast.walk(node))
        ):
            self.checkers.add(node.name)
            return True
        return False

    def _draws(self, node: ast.stmt) -> bool:
        """Whether a plain statement only draws; remembers the axes that it makes."""
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            if node.value is not None and re.match(r"assert_", _chain(node.value)[-1]):
                self.checkers |= {
                    t.id for t in ast.walk(node) if type(t) is ast.Name and _stored(t)
                }
                return True  # a short name for an assertion
            if node.value is None or not self._drawing(node.value):
                return False
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            self.canvas |= {
                n.id for t in targets for n in ast.walk(t) if type(n) is ast.Name and _stored(n)
            }
            return True
        return isinstance(node, ast.Expr) and self._drawing(node.value)

    def _drawing(self, value: ast.expr) -> bool:
        if isinstance(value, (ast.ListComp, ast.GeneratorExp)):
            return self._drawing(value.elt)
        if isinstance(value, ast.IfExp):
            return self._drawing(value.body)
        if isinstance(value, (ast.Subscript, ast.Attribute)):
            return isinstance(_root(value), ast.Name) and self._canvas_name(_root(value))
        if not isinstance(value, ast.Call):
            return isinstance(value, ast.Name) and self._canvas_name(value)
        root = _root(value.func)
        if not isinstance(root, ast.Name):
            return False
        if root.id == "d2l":
            return _chain(value.func)[1:2] in [[name] for name in DRAWING]
        return root.id in {"plt"} | self.drawers | self.checkers or self._canvas_name(root)

    def _canvas_name(self, node: Any) -> bool:
        return node.id in self.canvas or node.id in CANVAS

    def _loop(self, target: ast.expr, source: ast.expr) -> None:
        """Names of a loop that stand for axes, as in `for ax, x in zip(axes, values)`."""
        call = source if isinstance(source, ast.Call) else None
        name = call.func.id if call and isinstance(call.func, ast.Name) else ""
        if call and name == "zip" and isinstance(target, ast.Tuple):
            for one, other in zip(target.elts, call.args, strict=False):
                self._loop(one, other)
        elif call and name == "enumerate" and isinstance(target, ast.Tuple) and call.args:
            self._loop(target.elts[-1], call.args[0])
        elif any(isinstance(n, ast.Name) and self._canvas_name(n) for n in ast.walk(source)):
            self.canvas |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _root(node: ast.AST) -> ast.AST:
    """The innermost object of a chain such as `axes[0].lines.append`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node


def _chain(node: ast.AST) -> list[str]:
    """The names of a dotted expression: `['torch', 'testing', 'assert_close']`."""
    if isinstance(node, ast.Attribute):
        return [*_chain(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else [""]


def _asserts(node: ast.AST) -> bool:
    """Whether a statement is an assertion."""
    if isinstance(node, ast.Assert):
        return True
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and bool(
        re.match(r"assert_|check_|raises$", _chain(call.func)[-1])
    )


def _refuses(node: ast.Try) -> bool:
    """Whether a `try` checks that its body fails: it raises AssertionError otherwise."""
    return any(
        isinstance(n, ast.Raise) and n.exc is not None and "AssertionError" in ast.unparse(n.exc)
        for part in (node.body, node.orelse)
        for s in part
        for n in ast.walk(s)
    )


def _shown(node: ast.stmt) -> bool:
    """Whether a statement only shows a value, which the stored output holds anyway."""
    if not isinstance(node, ast.Expr):
        return False
    call = node.value
    return not isinstance(call, ast.Call) or _chain(call.func) == ["print"]


# The operators of our own: each takes a piece and gives edits

Operator = Callable[[Code, Piece, "Context"], Iterator[Edit]]
OWN: dict[str, Operator] = {}


@dataclass(frozen=True)
class Context:
    """What an operator may know of the notebook: every name in it."""

    names: frozenset[str] = frozenset()


def operator(name: str) -> Callable[[Operator], Operator]:
    """Register a function as the operator of this name."""

    def register(function: Operator) -> Operator:
        OWN[name] = function
        return function

    return register


def _nodes(piece: Piece, kind: Any) -> Iterator[Any]:
    """Nodes of a kind in a piece; not within a function or class that the piece is the head of."""
    for part in piece.nodes:
        for node in ast.walk(part):
            if isinstance(node, kind):
                yield node


def _calls(piece: Piece) -> Iterator[tuple[ast.Call, str]]:
    """Calls in a piece and the last name of what they call."""
    for node in _nodes(piece, ast.Call):
        yield node, _chain(node.func)[-1]


def _renamed(code: Code, call: ast.Call, name: str) -> Edit:
    """The edit that calls the function or method `name` instead."""
    start, stop = code.span(call.func)
    old = _chain(call.func)[-1]
    return Edit(stop - len(old), stop, name)


def _without(code: Code, call: ast.Call) -> Edit:
    """The edit that leaves of `x.method(...)` only `x`."""
    assert isinstance(call.func, ast.Attribute)
    return _cut(code, call.func, code.span(call)[1])


def _cut(code: Code, attribute: ast.Attribute, stop: int) -> Edit:
    """The edit that removes everything from the dot of an attribute to `stop`."""
    dot = code.source.rindex(".", 0, code.span(attribute)[1])
    text = code.source[dot:stop]
    return Edit(dot, stop, " " * bool(text.count("\n")) + "\n" * text.count("\n"))


def _dropped(code: Code, call: ast.Call, argument: ast.AST) -> Edit:
    """The edit that removes one argument of a call, with a comma beside it."""
    start, stop = code.span(argument)
    after = re.compile(r"\s*,[ \t]*").match(code.source, stop)
    if after and after.end() < code.span(call)[1]:
        return Edit(start, after.end(), "")
    before = re.search(r",\s*$", code.source[:start])
    return Edit(before.start() if before else start, stop, "")


AXES = set(
    "sum mean max min amax amin argmax argmin softmax log_softmax logsumexp cumsum cumprod std var "
    "any all prod unsqueeze cat stack norm flatten sort argsort flip median quantile".split()
)


@operator("axis")
def _axis(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for call, name in _calls(piece):
        places = [k.value for k in call.keywords if k.arg in ("dim", "axis", "dims", "start_dim")]
        if name in AXES:
            static = _chain(call.func)[0] in ("torch", "F", "np")
            places += call.args[1:2] if static else call.args[:1]
        for place in places:
            text = code.text(place)
            for other in {"0": ["1", "-1"], "1": ["0"], "-1": ["0"], "2": ["1"], "-2": ["-1"]}.get(
                text, []
            ):
                yield code.replace(place, other)


#: Functions of the same form, by operator: each pair is exchanged in both directions.
SWAPS = {
    "reduction": "mean sum",
    "extreme": "max min, argmax argmin, amax amin, floor ceil, maximum minimum",
    "similar function": (
        "std var, zeros ones, zeros_like ones_like, log log1p, exp expm1, sigmoid tanh, "
        "rand randn, randn rand, any all, softmax log_softmax, repeat repeat_interleave, "
        "reshape expand"
    ),
}
ONE_WAY = {"log1p", "expm1", "expand"}  # never exchanged for the other one


def _swap_operator(text: str) -> Operator:
    pairs = [pair.split() for pair in text.split(", ")]
    pairs += [[b, a] for a, b in pairs if b not in ONE_WAY]

    def swap(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
        for call, name in _calls(piece):
            for old, new in pairs:
                if name == old:
                    yield _renamed(code, call, new)

    return swap


for _name, _text in SWAPS.items():
    OWN[_name] = _swap_operator(_text)


@operator("keyword dropped")
def _keyword(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for call, name in _calls(piece):
        for keyword in call.keywords:
            if keyword.arg not in (None, "generator", "dim", "axis", "label", "end", "sep", "file"):
                if name not in ("print", "dict", "Path", "Generator"):
                    yield _dropped(code, call, keyword)


@operator("generator dropped")
def _generator(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for call, _name in _calls(piece):
        for keyword in call.keywords:
            if keyword.arg == "generator":
                yield _dropped(code, call, keyword)


@operator("keyword flipped")
def _flipped(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    """Words among the keywords, and the correction of a variance; no boolean operator does it."""
    for call, name in _calls(piece):
        for keyword in call.keywords:
            text = code.text(keyword.value)
            if keyword.arg == "reduction":
                for other in ('"mean"', '"sum"'):
                    if other != text.replace("'", '"'):
                        yield code.replace(keyword.value, other)
            elif keyword.arg == "correction":
                yield code.replace(keyword.value, "1" if text == "0" else "0")
        plain = {k.arg for k in call.keywords} & {"correction", "unbiased", "ddof"}
        if name in ("std", "var", "cov") and not plain:
            comma = ", " if call.args or call.keywords else ""
            stop = code.span(call)[1] - 1
            yield Edit(stop, stop, f"{comma}correction=0")


MODULES = {"torch", "F", "math", "np", "nn", "copy"}
MODES = {"eval", "train", "requires_grad_"}
STATE = set("detach clone zero_grad contiguous copy deepcopy zero_ reset clear".split())
MAPS = set(
    "abs sqrt square exp log relu clamp softmax sigmoid tanh cumsum flip double float long round "
    "norm sort sorted unsqueeze squeeze t flatten log_softmax int bool triu tril".split()
)


def _drop_operator(names: set[str]) -> Operator:
    def drop(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
        for call, name in _calls(piece):
            if name not in names:
                continue
            method = isinstance(call.func, ast.Attribute)
            if method and _chain(call.func)[0] not in MODULES:
                yield _without(code, call)
            elif call.args and not isinstance(call.args[0], ast.Starred):
                yield code.replace(call, f"({code.text(call.args[0])})")

    return drop


OWN["mode dropped"] = _drop_operator(MODES)
OWN["state call dropped"] = _drop_operator(STATE)
OWN["function dropped"] = _drop_operator(MAPS)


@operator("context dropped")
def _context(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    node = piece.statement
    if isinstance(node, ast.With) and not piece.plain and len(node.items) == 1:
        item = node.items[0]
        if re.search(r"no_grad|inference_mode|enable_grad|set_grad", code.text(item.context_expr)):
            start = code.span(node)[0]
            yield Edit(start, code.span(item.context_expr)[1], "if True")


@operator("arguments swapped")
def _arguments(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    unordered = set(
        "zip print isinstance getattr hasattr setattr maximum minimum equal Fraction "
        "reshape".split()
    )
    for call, name in _calls(piece):
        if len(call.args) == 2 and name not in unordered and _chain(call.func)[0] != "plt":
            one, two = call.args
            if not any(isinstance(a, (ast.Starred, ast.GeneratorExp)) for a in call.args):
                yield from _exchange(code, one, two)


#: What takes the sign from a difference: the order of its operands does not count.
EVEN = re.compile(r"\s*\)?\s*(?:\*\*\s*2\b|\.square\(|\.abs\(|\.norm\(|\.pow\(2)")


@operator("operands swapped")
def _operands(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for node in _nodes(piece, ast.BinOp):
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult)):
            start, stop = code.span(node)
            middle, gap = code.span(node.left)[1], code.span(node.right)[0]
            sign = re.search(r"[-/@]", code.source[middle:gap])
            if sign is None or isinstance(node.op, ast.Sub) and EVEN.match(code.source, stop):
                continue
            left = code.source[start : middle + sign.start()].rstrip()
            right = code.source[middle + sign.end() : stop].lstrip()
            if left != right:
                one, two = (
                    t if re.fullmatch(r"[\w.]+|\([^()]*\)", t) else f"({t})" for t in (right, left)
                )
                yield code.replace(node, f"{one} {sign[0]} {two}")


def _exchange(code: Code, one: ast.AST, two: ast.AST) -> Iterator[Edit]:
    (start, middle), (gap, stop) = code.span(one), code.span(two)
    left, right = code.source[start:middle], code.source[gap:stop]
    if left != right:
        yield Edit(start, stop, right + code.source[middle:gap] + left)


@operator("transpose dropped")
def _transpose(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for node in _nodes(piece, ast.Attribute):
        if node.attr in ("T", "mT", "H", "mH"):
            yield _cut(code, node, code.span(node)[1])


@operator("factor")
def _factor(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    node = piece.statement
    value = getattr(node, "value", None)
    plain = isinstance(node, (ast.Return, ast.Assign, ast.AugAssign)) and piece.plain
    if plain and (isinstance(value, ast.BinOp) or isinstance(node, ast.AugAssign)):
        if value is not None and not isinstance(value, (ast.List, ast.Tuple, ast.JoinedStr)):
            for change in ("2 * ({})", "0.5 * ({})", "-({})"):
                yield code.replace(value, change.format(code.text(value)))


@operator("off by one")
def _off(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for node in _nodes(piece, ast.Slice):
        if node.lower is not None and not isinstance(node.lower, ast.Constant):
            yield code.replace(node.lower, f"{code.text(node.lower)} + 1")
        if node.upper is not None and not isinstance(node.upper, ast.Constant):
            yield code.replace(node.upper, f"{code.text(node.upper)} - 1")
    for call, name in _calls(piece):
        repeated = code.source[: code.span(call)[0]].endswith("for _ in ")
        if name == "range" and call.args and not (repeated and _number(call.args[0])):
            last = call.args[min(len(call.args), 2) - 1]
            yield code.replace(last, f"{code.text(last)} - 1")
            yield code.replace(last, f"{code.text(last)} + 1")


def _number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant)


@operator("element lost")
def _lost(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    sources = [n.iter for n in _nodes(piece, ast.comprehension)]
    if isinstance(piece.statement, ast.For) and not piece.plain:
        sources.append(piece.statement.iter)
    for source in sources:
        if re.match(r"range\(\d+\)$", code.text(source)):
            continue
        if isinstance(source, (ast.Tuple, ast.List)):
            if len(source.elts) > 1:
                text = code.text(source)
                for part in ("[1:]", "[:-1]"):
                    whole = text if text.startswith(("(", "[")) else f"({text})"
                    yield code.replace(source, whole + part)
        else:
            yield code.replace(source, f"list({code.text(source)})[1:]")
            yield code.replace(source, f"list({code.text(source)})[:-1]")


@operator("statement dropped")
def _statement(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    node = piece.statement
    if isinstance(node, ast.If) and any(isinstance(s, ast.Raise) for s in node.body):
        if not node.orelse and not code.source.startswith("elif", code.span(node)[0]):
            yield code.replace(node, "pass")
    if not piece.plain or piece.weight < 1:
        return
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    if isinstance(node, (ast.Expr, ast.AugAssign)) or isinstance(
        target, (ast.Attribute, ast.Subscript)
    ):
        yield code.replace(node, "pass")


@operator("statement moved")
def _moved(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    node = piece.statement
    if not piece.plain or piece.weight < 1:
        return
    following = piece.following
    plain = (ast.Expr, ast.Assign, ast.AugAssign)
    if isinstance(node, plain) and isinstance(following, plain) and not _asserts(following):
        if following.lineno > (node.end_lineno or 0) and _ordered(node, following):
            yield from _exchange(code, node, following)


def _ordered(one: ast.stmt, two: ast.stmt) -> bool:
    """Whether the order may matter in another way than that a name is missing."""
    acts = [
        isinstance(s, ast.Expr)
        and isinstance(s.value, ast.Call)
        and _chain(s.value.func)[-1] not in ("append", "print", "extend")
        for s in (one, two)
    ]
    bound, used = [
        [
            {n.id for n in ast.walk(s) if isinstance(n, ast.Name) and _is_stored(n) == stored}
            for s in (one, two)
        ]
        for stored in (True, False)
    ]
    return not bound[0] & used[1] and (any(acts) or bool(bound[1] & used[0]))


@operator("training data")
def _data(code: Code, piece: Piece, context: Context) -> Iterator[Edit]:
    """Validation data replaced by training data and the other way round, where names suggest it."""
    pairs = [
        pair.split()
        for pair in ("val train", "test train", "train val", "new train", "valid train")
    ]
    for node in _nodes(piece, (ast.Name, ast.Attribute)):
        name = node.id if isinstance(node, ast.Name) else node.attr
        for old, new in pairs:
            other = re.sub(rf"(?<![a-z]){old}(?![a-z])", new, name)
            if other != name and other in context.names and not _is_stored(node):
                stop = code.span(node)[1]
                yield Edit(stop - len(name), stop, other)


def _is_stored(node: Any) -> bool:
    return isinstance(node.ctx, (ast.Store, ast.Del))


@operator("noise or seed fixed")
def _fixed(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for call, name in _calls(piece):
        if name in ("randn", "randn_like", "normal", "rand", "rand_like", "bernoulli"):
            yield code.replace(call, f"(0 * {code.text(call)})")
        elif name == "manual_seed" and call.args and not isinstance(call.args[0], ast.Constant):
            yield code.replace(call.args[0], "0")
        elif name == "randperm" and call.args:
            yield code.replace(call, f"torch.arange({code.text(call.args[0])})")


@operator("mask shared")
def _shared(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    for call, name in _calls(piece):
        if name in ("rand_like", "randn_like", "bernoulli") and call.args:
            yield code.replace(call.args[0], f"{code.text(call.args[0])}[:1]")


@operator("function returns its input")
def _input(code: Code, piece: Piece, _: Context) -> Iterator[Edit]:
    node = piece.statement
    if not isinstance(node, ast.FunctionDef) or piece.plain or node.name == "__init__":
        return
    arguments = (*node.args.posonlyargs, *node.args.args)
    names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
    inside = [n for s in node.body for n in ast.walk(s)]
    gives = any(isinstance(n, ast.Return) and n.value is not None for n in inside)
    if not gives or any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in inside):
        return
    documented = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
    first = node.body[1 if documented and len(node.body) > 1 else 0]
    for value in (names[0], "True") if names else ("True",):
        yield code.replace(first, f"return {value}")


# From statements to a sample


@dataclass(frozen=True)
class Candidate:
    """A change that can be made: the cell, the operator, and how to get the changed text."""

    cell: int
    line: int  # within the cell
    family: str
    name: str
    weight: float
    solution: bool
    exports: tuple[str, ...]
    make: Callable[[], str | None] = field(compare=False)


#: Family, operator, piece, and what gives the changed text, or None if nothing can be made of it.
Change = tuple[str, str, Piece, Callable[[], str | None]]


@lru_cache(maxsize=1)
def _cosmic() -> dict[str, Any]:
    """The operators of cosmic-ray by name."""
    try:
        from cosmic_ray.operators.provider import OperatorProvider
    except ImportError as error:
        raise BookError(
            "mutate needs the package cosmic-ray; run `make env`, or pip install cosmic-ray."
        ) from error
    provider = OperatorProvider()
    return {name: provider[name]() for names in GENERAL.values() for name in names}


def _spans(code: Code, pieces: list[Piece]) -> list[tuple[int, int, Piece]]:
    return [(*code.span(node), piece) for piece in pieces for node in piece.nodes]


def _cosmic_change(code: Code, name: str, occurrence: int, at: int) -> str | None:
    """The text that an operator of cosmic-ray makes of a cell; `at` is the place of the change."""
    from cosmic_ray.mutating import mutate_code

    if name == "NumberReplacer" and re.match(r"[\d.]+e\d", code.source[at:]):
        return None  # one more than a large number
    try:
        changed = mutate_code(code.source, _cosmic()[name], occurrence)
    except AttributeError:  # of ExceptionReplacer for a dotted name
        return None
    return None if changed is None else str(changed)


def _general(code: Code, pieces: list[Piece]) -> Iterator[Change]:
    """The changes of cosmic-ray whose place lies in a piece."""
    from cosmic_ray.ast import ast_nodes, get_ast

    spans = _spans(code, pieces)
    nodes = list(ast_nodes(get_ast(code.source)))
    for family, names in GENERAL.items():
        for name in names:
            places = [p for node in nodes for p in _cosmic()[name].mutation_positions(node)]
            for occurrence, (start, stop) in enumerate(places):
                at = [code.starts[line - 1] + column for line, column in (start, stop)]
                piece = next((p for a, b, p in spans if a <= at[0] and at[1] <= b), None)
                if family == "decorator":  # its place begins before the decorator's expression
                    piece = next((p for a, b, p in spans if at[0] <= a and b <= at[1]), piece)
                if piece is None or family == "number" and _free(code, at[0]):
                    continue

                yield family, name, piece, partial(_cosmic_change, code, name, occurrence, at[0])


def _free(code: Code, at: int) -> bool:
    """Whether a number promises nothing: a seed, a count of repetitions, or one beyond 10."""
    number = re.compile(r"[\d_.]+").match(code.source, at)
    if number and float(number[0].replace("_", "").strip(".") or 0) > 10:
        return True
    return bool(re.search(r"seed(?:_all)?\(\s*$|seed\s*=\s*$|for _ in range\($", code.source[:at]))


def cell_candidates(source: str, regions: Regions, context: Context) -> list[Change]:
    """Every change to a cell's code that may be tried."""
    code = Code(source)
    pieces = regions.pieces(code)
    found = list(_general(code, pieces))
    for name, function in OWN.items():
        for piece in pieces:
            for edit in function(code, piece, context):
                found.append((name, name, piece, partial(code.apply, edit)))
    return found


def candidates(section: Section) -> list[Candidate]:
    """Every change to a section's code that may be tried, in the order of the section."""
    regions, found, solution = Regions(), [], False
    text = "\n".join(cell.source for _, cell in section.code_cells())
    context = Context(frozenset(re.findall(r"[A-Za-z_]\w*", text)))
    for index, cell in enumerate(section.notebook.cells):
        if cell.cell_type == "markdown":
            solution = _in_solution(cell.source, solution)
            continue
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type != "code" or not _wanted(cell.source, tags):
            if cell.cell_type == "code" and _parses(cell.source):
                regions.pieces(Code(cell.source))  # for the axes and helpers that it defines
            continue
        for family, name, piece, make in cell_candidates(cell.source, regions, context):
            top = _top(cell.source, piece.statement)
            exported = "export" in tags
            found.append(
                Candidate(
                    index,
                    getattr(piece.nodes[0] if piece.nodes else piece.statement, "lineno", 1),
                    family,
                    name,
                    piece.weight * (2 if exported else 1),
                    solution,
                    top if exported else (),
                    make,
                )  # fmt: skip
            )
    return found


def _in_solution(text: str, before: bool) -> bool:
    task = TASK.match(text)
    if task and task[1] == "Solution":
        return True
    return before and not re.match(r"## ", text)


def _wanted(source: str, tags: set[str]) -> bool:
    if tags & {"parameters", "notation"} or CHECK_CELL.match(source) or not _parses(source):
        return False
    return "hide-input" not in tags or not re.search(r"\b(?:plt|ax|axes|fig|d2l)\.", source)


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:  # a magic
        return False
    return True


def _top(source: str, statement: ast.stmt) -> tuple[str, ...]:
    """Names of the top-level definition that a statement belongs to."""
    from .keys import _names

    for node in ast.parse(source).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        if first <= statement.lineno <= (node.end_lineno or node.lineno):
            return tuple(_names(node))
    return ()


def sample(section: Section, seed: object, count: int) -> list[Mutant]:
    """Different mutants of a section, the same ones for the same seed.

    Every family of operators is as likely as another. At most half are plain arithmetic, at most a
    fifth lie in solutions, and no line is changed twice as long as others are left.
    """
    rng = random.Random(f"{seed}/{section.id}")
    found = candidates(section)
    sizes: dict[str, float] = {}
    for candidate in found:
        sizes[candidate.family] = sizes.get(candidate.family, 0.0) + candidate.weight
    order = sorted(
        found,
        key=lambda c: rng.expovariate(c.weight * FAMILIES.get(c.family, 1.0) / sizes[c.family]),
    )
    chosen: list[Mutant] = []
    lines: set[tuple[int, int]] = set()
    trees: set[str] = set()
    plain = solved = 0
    for once in (True, False):
        for candidate in order:
            if len(chosen) == count:
                return chosen
            place = (candidate.cell, candidate.line)
            if once and place in lines:
                continue
            if candidate.family in PLAIN and plain >= count / 2:
                continue
            if candidate.solution and solved >= count // 5:
                continue
            mutant = _mutant(section, candidate, trees)
            if mutant is None:
                continue
            chosen.append(mutant)
            lines.add(place)
            plain += candidate.family in PLAIN
            solved += candidate.solution
    return chosen


def _mutant(section: Section, candidate: Candidate, trees: set[str]) -> Mutant | None:
    """The mutant of a candidate; None if the compiled code is the same, or was there before."""
    before = section.notebook.cells[candidate.cell].source
    source = candidate.make()
    if source is None or not _parses(source):
        return None
    tree = f"{candidate.cell} {ast.dump(ast.parse(source))}"
    if tree in trees or ast.dump(ast.parse(source)) == ast.dump(ast.parse(before)):
        return None
    trees.add(tree)
    first, old, new = changed_lines(before, source)
    line = section.cell_lines[candidate.cell] + first
    return Mutant(
        section=section.id,
        cell=candidate.cell,
        line=line,
        operator=candidate.name,
        old=old,
        new=new,
        source=source,
        before=before,
        solution=candidate.solution,
        exports=candidate.exports,
    )


def changed_lines(before: str, after: str) -> tuple[int, str, str]:
    """Index of the first line that differs, and the lines up to the last one before and after.

    The lines are stripped, and empty ones left out.
    """
    one, two = before.splitlines(), after.splitlines()
    parts = [
        o
        for o in difflib.SequenceMatcher(None, one, two, autojunk=False).get_opcodes()
        if o[0] != "equal"
    ]
    if not parts:
        return 0, "", ""
    old = [line.strip() for line in one[parts[0][1] : parts[-1][2]]]
    new = [line.strip() for line in two[parts[0][3] : parts[-1][4]]]
    return parts[0][1], "\n".join(filter(None, old)), "\n".join(filter(None, new))
