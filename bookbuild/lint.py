"""Rules of form that need no run: width, length, numbering, links, exercises with solutions."""

import ast
import re
import urllib.parse
from collections.abc import Iterator

from . import grammar
from .book import Book, BookError, Section
from .grammar import KINDS, blank, line_of
from .keys import PACKAGE, Sources, imports
from .record import PROFILES
from .terms import FILE as TERMS
from .terms import Terms

MAX_COLUMNS, MAX_LINES = 79, 40
Pieces = list[tuple[int, str]]

#: TeX that sets type and has no meaning of its own, and letters of the Greek alphabet, which a
#: section may use as it likes.
LAYOUT = set(
    "frac tfrac dfrac left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl "
    "Biggr tag text textbf mathrm mathit mathbf boldsymbol mathcal mathsf mathtt operatorname "
    "stackrel underset overset underbrace overbrace underline overline quad qquad hspace phantom "
    "begin end hline limits nolimits displaystyle textstyle color vert Vert lvert rvert lVert "
    "rVert lbrace rbrace prime ell alpha beta gamma delta epsilon varepsilon zeta eta theta "
    "vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi varphi chi psi omega "
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
#: What imports or runs code by a way that `keys` cannot follow.
_HIDDEN = re.compile(
    r"\b(?:__import__|import_module|run_path|run_module)\s*\(|\bsys\.path\.\w+\s*\(|^\s*%(?:run|load|autoreload|load_ext)\b.*",
    re.M,
)


def problems(book: Book, sections: list[Section] | None = None) -> list[str]:
    """Every breach of form, with file and line; in the whole book, or in some of its sections."""
    found = [
        f"{p.relative_to(book.root).as_posix()}: book/contents.toml does not name it. "
        "Give it an entry there, or move it out of book/."
        for p in (book.stray() if sections is None else [])
    ]
    readable: list[Section] = []
    for section in book.sections:
        try:
            unread = _conflicts(section) or _heads(section)
            if not unread and not section.is_page:
                _ = section.cells, section.header
        except BookError as error:
            unread = [str(error)]
        if sections is None or section in sections:
            found += unread
        if not unread:
            readable.append(section)
    symbols, variants = notation(readable)
    texts = {s: prose(s) for s in readable}
    known = _targets(texts)
    written = {s.id for s in readable}
    sources = Sources(book.root)
    for section, pieces in texts.items():
        if sections is not None and section not in sections:
            continue
        found += _unwritten(section) + _numbering(section, pieces) + _sources(section, pieces)
        for line, text in pieces:
            found += _links(section, line, text)
            found += _mentions(section, line, text, known, written)
            if symbols:
                found += _symbols(section, line, text, symbols, variants)
        if not section.is_page:
            found += _header(section) + _code(section) + _order(section)
            found += _unfollowed(section, sources) + _unfolded(section)
    return found + _terms(Terms(book), [s for s in readable if sections is None or s in sections])


def prose(section: Section) -> Pieces:
    """(line, text) of every Markdown piece of a section."""
    if section.is_page:
        return [(1, section.text)]
    return [(cell.line, cell.source) for cell in section.cells if cell.kind == "markdown"]


def exercises(section: Section) -> list[str]:
    """Numbers of the exercises that a section asks, in order."""
    return [number for kind, number in _tasks(section) if kind == "Exercise"]


def _tasks(section: Section) -> list[tuple[str, str]]:
    return [(m[1], m[2]) for _, text in prose(section) for m in grammar.TASK.finditer(text)]


def _conflicts(section: Section) -> list[str]:
    """Lines that a merge with a conflict left."""
    return [
        f"{section.name}:{line_of(section.text, m.start()) + 1}: conflict marker {m[0]!r}; "
        "choose what is to stay and remove the marks."
        for m in grammar.CONFLICT.finditer(section.text)
    ]


def _heads(section: Section) -> list[str]:
    """Lines `# %%` that say something else than a kind of cell and tags."""
    if section.is_page:
        return []
    return [
        f"{section.name}:{n}: {line!r} does not begin a cell as the book has it; write "
        '`# %%`, `# %% [markdown]` or `# %% tags=["timing"]`.'
        for n, line in enumerate(section.text.split("\n"), 1)
        if grammar.CELL.match(line) and not grammar.HEAD.match(line)
    ]


def _unwritten(section: Section) -> list[str]:
    """Places that say what is still to be written."""
    return [
        f"{section.name}:{n}: still to write: {line.partition(grammar.TODO)[2].strip()}"
        for n, line in enumerate(section.text.split("\n"), 1)
        if grammar.TODO in line
    ]


def _unfolded(section: Section) -> list[str]:
    """Headings of solutions that share their cell with text, which JupyterLab does not fold."""
    return [
        f"{section.where(index, line_of(cell.source, match.start()) + 1)}: the heading of "
        f"Solution {match[1]} shares its cell with text; give it a cell of its own "
        "(`# %% [markdown]` before and after it), so that JupyterLab folds the answer."
        for index, cell in enumerate(section.cells)
        if cell.kind == "markdown"
        for match in grammar.SOLUTION.finditer(cell.source)
        if cell.source.strip() != match[0].strip()
    ]


def _header(section: Section) -> list[str]:
    """Profiles that set what they cannot."""
    found: dict[str, None] = {}
    for name in PROFILES:
        try:
            section.profile(name)
        except BookError as error:
            found[str(error)] = None
    return list(found)


def _targets(texts: dict[Section, Pieces]) -> dict[str, set[str]]:
    """Kind -> numbers of the equations, figures and exercises of the book."""
    every = [text for pieces in texts.values() for _, text in pieces]
    return {
        "equation": {n for text in every for n in grammar.EQUATION.findall(text)},
        "figure": {m[1] for text in every for m in grammar.CAPTION.finditer(text)},
        "exercise": {m[2] for t in every for m in grammar.TASK.finditer(t) if m[1] == "Exercise"},
    }


def _mentions(
    section: Section, line: int, text: str, known: dict[str, set[str]], written: set[str]
) -> list[str]:
    """References to equations, figures and exercises that do not exist in a section that does."""
    bare = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", blank, text, flags=re.S)
    found = []
    for match in grammar.MENTION.finditer(bare):
        kind, number = next((k, n) for k, n in zip(KINDS, match.groups(), strict=True) if n)
        if number not in known[kind] and ".".join(re.split(r"[.-]", number)[:2]) in written:
            where = f"{section.name}:{line + line_of(bare, match.start())}"
            found.append(f"{where}: there is no {kind} {number}. Correct the number, or add it.")
    return found


def _numbering(section: Section, pieces: Pieces) -> list[str]:
    found = [
        f"{section.name}:{line + line_of(text, m.start())}: the heading {m[0]!r} has a number; "
        f"{m[1]} is an equation or a figure. Leave the number out."
        for line, text in pieces
        for m in grammar.NUMBERED_HEADING.finditer(text)
    ]
    for kind, pattern in (("equation", grammar.EQUATION), ("figure", grammar.CAPTION)):
        numbers = [m[1] for _, text in pieces for m in pattern.finditer(text)]
        wanted = [f"{section.id}.{i}" for i in range(1, len(numbers) + 1)]
        if numbers != wanted:
            at = next(i for i, (a, b) in enumerate(zip(numbers, wanted, strict=True)) if a != b)
            found.append(
                f"{section.name}: {kind} {numbers[at]} should be {wanted[at]}; count in order."
            )
    return found


def _inner_links(text: str) -> Iterator[re.Match[str]]:
    """Links that stay within the book."""
    for match in grammar.LINK.finditer(text):
        target = match["target"].split("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            yield match


def _links(section: Section, line: int, text: str) -> list[str]:
    found = []
    for match in _inner_links(text):
        where = f"{section.name}:{line + line_of(text, match.start())}"
        target = urllib.parse.unquote(match["target"].split("#")[0])
        path = (section.path.parent / target).resolve()
        if not (path.exists() or (path.suffix == ".ipynb" and path.with_suffix(".py").exists())):
            found.append(
                f"{where}: the link to {match['target']} leads nowhere. Correct it; "
                "a section that is not written yet is named without a link."
            )
        if match["image"] and not match["text"]:
            found.append(
                f"{where}: the image {match['target']} has no alternative text; "
                "say in its brackets what it shows: ![what it shows](img/name.svg)."
            )
    return found


def _sources(section: Section, pieces: Pieces) -> list[str]:
    """Links into the book among the sources: the number is that of another book's section."""
    found: list[str] = []
    within = False
    for line, text in pieces:
        begin, spans = 0, []
        for part in grammar.PART.finditer(grammar.CODE.sub(blank, text)):
            if len(part[1]) <= 2:
                spans.append((begin, part.start(), within))
                begin, within = part.start(), part[2] == "Sources"
        for start, end, inside in [*spans, (begin, len(text), within)]:
            for match in _inner_links(text[start:end]) if inside else ():
                found.append(
                    f"{section.name}:{line + line_of(text, start + match.start())}: the link "
                    f"{match[0]} leads into this book, but stands among the sources; write "
                    f"{match['text']!r} without a link."
                )
    return found


def _terms(terms: Terms, sections: list[Section]) -> list[str]:
    """Words in italics that are no known term, and terms that their section does not define."""
    found = []
    for section in sections:
        for line, italic in terms.unlisted(section):
            found.append(
                f"{section.name}:{line}: is *{italic}* a term that this section defines? Then add "
                f'"{section.id}" to it in [terms] of {TERMS}; if not, add it to [emphasis].'
            )
    there = {section.id for section in sections}
    found += [
        f"{TERMS}: section {number} should say what {term.name!r} is, with the term in *italics*."
        for term, number in terms.missing()
        if number in there
    ]
    return found


def notation(sections: list[Section]) -> tuple[set[str], dict[str, str]]:
    """From the cells tagged `notation`: the known TeX commands, and unused form -> the book's form.

    Such a cell begins with an assignment of rows
    ``(symbol, meaning, code, *forms that the book does not use)``.
    """
    known, variants = set(), dict(ALIASES)
    for section in sections:
        for index, cell in [] if section.is_page else section.code:
            if "notation" not in cell.tags:
                continue
            try:
                rows = ast.literal_eval(ast.parse(cell.source).body[0].value)  # type: ignore[attr-defined]
                for symbol, meaning, _, *others in rows:
                    known.update(grammar.COMMAND.findall(symbol))
                    for piece in grammar.MATHS.findall(meaning):
                        known.update(grammar.COMMAND.findall(piece))
                    variants.update(dict.fromkeys(others, symbol))
            except (SyntaxError, ValueError, AttributeError, IndexError, TypeError) as error:
                raise BookError(
                    f"{section.where(index)}: not a list of rows "
                    f"(symbol, meaning, code, *other forms): {error}."
                ) from None
    return known, variants


def _symbols(
    section: Section, line: int, text: str, known: set[str], variants: dict[str, str]
) -> list[str]:
    """Symbols that the table of notation does not have, or writes in another way."""
    found = []
    bare = grammar.CODE.sub(blank, text)
    patterns = {  # any letter in place of the X
        other: re.escape(other).replace(re.escape("{X}"), r"\{\w\}")
        + (r"(?![A-Za-z])" if other[-1].isalpha() else "")
        for other in variants
    }
    for piece in grammar.MATHS.finditer(bare):
        maths = re.sub(
            r"\\(?:text|tag|mathrm|operatorname\*?)\{[^{}]*\}",
            lambda m: m[0] if m[0] in variants else " " * len(m[0]),
            piece[0],
        )
        where = f"{section.name}:{line + line_of(bare, piece.start())}"
        for other, symbol in variants.items():
            if re.search(patterns[other], maths):
                found.append(
                    f"{where}: write ${symbol}$ rather than ${other}$ "
                    f"(notation of the book, in {piece[0].strip('$').strip()!r})."
                )
        for command in sorted(set(grammar.COMMAND.findall(maths)) - known):
            if command[1:] not in LAYOUT and command not in variants:
                found.append(
                    f"{where}: {command} is not in the tables of notation; "
                    "use a symbol from there or add a row."
                )
    return found


def _code(section: Section) -> list[str]:
    """Tags without a meaning; code that is too wide or too long."""
    found = [
        f"{section.where(index)}: {fault}"
        for index, cell in enumerate(section.cells)
        for tag in cell.tags
        if (fault := grammar.unknown_tag(tag))
    ]
    for index, cell in section.code:
        lines = cell.source.splitlines()
        if len(lines) > MAX_LINES:
            found.append(
                f"{section.where(index)}: {len(lines)} lines; split the cell ({MAX_LINES} at most)."
            )
        found += [
            f"{section.where(index, n)}: {len(text)} columns ({MAX_COLUMNS} at most); break it."
            for n, text in enumerate(lines, 1)
            if len(text) > MAX_COLUMNS
        ]
    return found


def _unfollowed(section: Section, sources: Sources) -> list[str]:
    """Imports that the key of the outputs cannot follow, so that a change would rerun nothing."""
    found = []
    for index, cell in section.code:
        for match in _HIDDEN.finditer(cell.source):
            found.append(
                f"{section.where(index, line_of(cell.source, match.start()) + 1)}: "
                f"{match[0].strip()!r} brings in code that the build does not see; "
                "use an import statement."
            )
        if PACKAGE not in cell.source:
            continue
        for module, node in imports(cell.tree):
            names = [f".{a.name}" for a in node.names] if isinstance(node, ast.ImportFrom) else [""]
            for name in names if module.split(".")[0] == PACKAGE else []:
                whole = f"{module}{name}".removesuffix(".*")
                if not sources.has(whole[len(PACKAGE) + 1 :]):
                    found.append(
                        f"{section.where(index, node.lineno)}: {whole} is nothing that a section "
                        "may import; there are the names of `d2l_helpers` and its modules."
                    )
    return found


def _order(section: Section) -> list[str]:
    """Title, exercises with solutions, and the parts that every section has."""
    text = "\n".join(source for _, source in prose(section))
    found = []
    if not text.startswith(f"# {section.id} {section.title}"):
        found.append(
            f"{section.name}: the title should be '# {section.id} {section.title}', "
            "as in book/contents.toml; correct one of them."
        )
    tasks = _tasks(section)
    asked = [number for kind, number in tasks if kind == "Exercise"]
    solved = [number for kind, number in tasks if kind == "Solution"]
    if asked != solved or asked != [f"{section.id}-{i}" for i in range(1, len(asked) + 1)]:
        found.append(
            f"{section.name}: exercises {asked} and solutions {solved} do not fit. "
            f"Number them {section.id}-1, {section.id}-2 and so on, with a solution for each."
        )
    parts = {
        m[2].split(maxsplit=1)[0] for m in grammar.PART.finditer(text) if m[1] == "##" and m[2]
    }
    heads = [f"## {h}" for h in ("Summary", "Exercises", "Sources") if h not in parts]
    if heads and section.exercises:
        found.append(f"{section.name}: there is no {', '.join(heads)}. Add what is missing.")
    return found
