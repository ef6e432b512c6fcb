"""Rules of form that need no run: width, length, numbering, links, exercises with solutions."""

import ast
import re
import urllib.parse

from .book import Book, BookError, Section
from .outputs import missing_alt as missing_alt  # moved there; for check.py and tests
from .outputs import private_outputs as private_outputs

LINK = re.compile(r"(!?)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
TAG = re.compile(r"\\tag\{(\d+\.\d+\.\d+)\}")
EQREF = re.compile(r"(?<![\w.$])\((\d+\.\d+\.\d+)\)")
FIGURE = re.compile(r"^\*\*Figure (\d+\.\d+\.\d+)\.\*\*", re.M)
FIGREF = re.compile(r"(?<!\*\*)Figure (\d+\.\d+\.\d+)")
EXERCISE = re.compile(r"^#+ Exercise (\d+\.\d+-\d+)", re.M)
SOLVED = re.compile(r"^#+ Solution (\d+\.\d+-\d+)", re.M)
HEADING = re.compile(r"^##+ (\d+\.\d+\.\d+).*", re.M)
MAX_COLUMNS, MAX_LINES = 79, 40

MATHS = re.compile(r"\$\$.+?\$\$|(?<![\\$])\$(?!\s)[^$\n]+?\$", re.S)
COMMAND = re.compile(r"\\(?:mathbb\{\w\}|[A-Za-z]+)")
#: TeX that sets type and has no meaning of its own, and letters of the Greek alphabet, which a section may use as it likes.
LAYOUT = set(
    "frac tfrac dfrac left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr tag text textbf mathrm mathit mathbf "
    "boldsymbol mathcal mathsf mathtt operatorname stackrel underset overset underbrace overbrace underline overline quad qquad hspace phantom "
    "begin end hline limits nolimits displaystyle textstyle color vert Vert lvert rvert lVert rVert lbrace rbrace prime ell "
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
#: Two spellings of one sign: other -> the book's.
ALIASES = {
    r"\ldots": r"\dots",
    r"\neq": r"\ne",
    r"\leq": r"\le",
    r"\geq": r"\ge",
    r"\gets": r"\leftarrow",
}


def problems(book: Book) -> list[str]:
    """Every breach of form in the book, with file and line."""
    found = [
        f"{p.relative_to(book.root).as_posix()}: book/contents.toml does not name it."
        for p in book.stray()
    ]
    texts = {s: prose(s) for s in book.sections}
    tags = {t for pieces in texts.values() for _, text in pieces for t in TAG.findall(text)}
    figures = {f for pieces in texts.values() for _, text in pieces for f in FIGURE.findall(text)}
    written = {".".join(t.split(".")[:2]) for t in (s.id for s in book.sections)}
    symbols, variants = notation(book)
    for section, pieces in texts.items():
        found += _numbering(section, pieces)
        for line, text in pieces:
            found += _links(section, line, text) + (
                _symbols(section, line, text, symbols, variants) if symbols else []
            )
            bare = re.sub(
                r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`",
                lambda m: re.sub(r"[^\n]", " ", m[0]),
                text,
                flags=re.S,
            )
            for kind, pattern, known in (("equation", EQREF, tags), ("figure", FIGREF, figures)):
                for match in pattern.finditer(bare):
                    if match[1] not in known and ".".join(match[1].split(".")[:2]) in written:
                        found.append(
                            f"{section.name}:{line + bare[: match.start()].count(chr(10))}: there is no {kind} {match[1]}."
                        )
        if not section.is_page:
            found += _code(section) + _order(section)
    return found


def prose(section: Section) -> list[tuple[int, str]]:
    """(line, text) of every Markdown piece of a section."""
    if section.is_page:
        return [(1, section.text)]
    return [
        (section.cell_lines[i], c.source)
        for i, c in enumerate(section.notebook.cells)
        if c.cell_type == "markdown"
    ]


def _numbering(section: Section, pieces: list[tuple[int, str]]) -> list[str]:
    found = [
        f"{section.name}:{line + text[: m.start()].count(chr(10))}: the heading {m[0]!r} has a number; {m[1]} is an equation or a figure."
        for line, text in pieces
        for m in HEADING.finditer(text)
    ]
    for kind, pattern in (("equation", TAG), ("figure", FIGURE)):
        numbers = [n for _, text in pieces for n in pattern.findall(text)]
        wanted = [f"{section.id}.{i}" for i in range(1, len(numbers) + 1)]
        if numbers != wanted:
            at = next(i for i, (a, b) in enumerate(zip(numbers, wanted, strict=True)) if a != b)
            found.append(f"{section.name}: {kind} {numbers[at]} should be {wanted[at]}.")
    return found


def _links(section: Section, line: int, text: str) -> list[str]:
    found = []
    for match in LINK.finditer(text):
        target = urllib.parse.unquote(match[2].split("#")[0])
        if not target or "://" in target or target.startswith("mailto:"):
            continue
        path = (section.path.parent / target).resolve()
        exists = path.exists() or (path.suffix == ".ipynb" and path.with_suffix(".py").exists())
        if not exists:
            found.append(
                f"{section.name}:{line + text[: match.start()].count(chr(10))}: the link to {match[2]} leads nowhere."
            )
        if match[1] and match[0].startswith("![]"):
            found.append(
                f"{section.name}:{line + text[: match.start()].count(chr(10))}: the image {match[2]} has no alternative text."
            )
    return found


def notation(book: Book) -> tuple[set[str], dict[str, str]]:
    """From the tables of the section with cells tagged `notation`: the known TeX commands, and unused form -> form of the book.

    Such a cell begins with an assignment of rows ``(symbol, meaning, code, *forms that the book does not use)``.
    """
    known, variants = set(), dict(ALIASES)
    for section in book.notebooks:
        for index, cell in section.code_cells():
            if "notation" not in cell.metadata.get("tags", []):
                continue
            try:
                rows = ast.literal_eval(ast.parse(cell.source).body[0].value)  # type: ignore[attr-defined]
                for symbol, meaning, _, *others in rows:
                    known.update(
                        COMMAND.findall(symbol)
                        + [c for piece in MATHS.findall(meaning) for c in COMMAND.findall(piece)]
                    )
                    variants.update(dict.fromkeys(others, symbol))
            except (SyntaxError, ValueError, AttributeError, IndexError, TypeError) as error:
                raise BookError(
                    f"{section.where(index)}: not a list of rows (symbol, meaning, code, *other forms): {error}."
                ) from None
    return known, variants


def _symbols(
    section: Section, line: int, text: str, known: set[str], variants: dict[str, str]
) -> list[str]:
    """Symbols that the table of notation does not have, or writes in another way."""
    found = []
    bare = re.sub(r"```.*?```|`[^`\n]*`", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)
    for piece in MATHS.finditer(bare):
        maths = re.sub(
            r"\\(?:text|tag|mathrm|operatorname\*?)\{[^{}]*\}",
            lambda m: m[0] if m[0] in variants else " " * len(m[0]),
            piece[0],
        )
        where = f"{section.name}:{line + bare[: piece.start()].count(chr(10))}"
        for other, symbol in variants.items():
            letters = re.escape(other).replace(
                re.escape("{X}"), r"\{\w\}"
            )  # any letter in place of the X
            if re.search(letters + (r"(?![A-Za-z])" if other[-1].isalpha() else ""), maths):
                found.append(
                    f"{where}: write ${symbol}$ rather than ${other}$ (notation of the book, in {piece[0].strip('$').strip()!r})."
                )
        for command in sorted(set(COMMAND.findall(maths)) - known):
            if command[1:] not in LAYOUT and command not in variants:
                found.append(
                    f"{where}: {command} is not in the tables of notation; use a symbol from there or add a row."
                )
    return found


def _code(section: Section) -> list[str]:
    found = []
    for index, cell in section.code_cells():
        lines = cell.source.splitlines()
        if len(lines) > MAX_LINES:
            found.append(
                f"{section.where(index)}: {len(lines)} lines; split the cell ({MAX_LINES} at most)."
            )
        found += [
            f"{section.where(index, n)}: {len(text)} columns ({MAX_COLUMNS} at most)."
            for n, text in enumerate(lines, 1)
            if len(text) > MAX_COLUMNS
        ]
    return found


def _order(section: Section) -> list[str]:
    """Title, exercises with solutions, and the parts that every section has."""
    text = "\n".join(c.source for c in section.notebook.cells if c.cell_type == "markdown")
    found = []
    if not text.startswith(f"# {section.id} {section.title}"):
        found.append(
            f"{section.name}: the title should be '# {section.id} {section.title}', as in book/contents.toml."
        )
    asked, solved = EXERCISE.findall(text), SOLVED.findall(text)
    if asked != solved or asked != [f"{section.id}-{i}" for i in range(1, len(asked) + 1)]:
        found.append(f"{section.name}: exercises {asked} and solutions {solved} do not fit.")
    heads = [
        h
        for h in ("## Summary", "## Exercises", "## Sources")
        if not re.search(rf"^{h}\b", text, re.M)
    ]
    if heads and section.exercises:
        found.append(f"{section.name}: there is no {', '.join(heads)}.")
    return found
