r"""The grammar of a section: every form that has a meaning in its text, in one place.

A section is a file of cells (`CELL`). Prose holds links, numbered equations, figures and exercises;
code holds the marks of checks; a cell may have tags (`TAGS`). Reader, linter, exporter and site all
take the forms from here. `MENTION` matches where a thing is spoken of, the others where it stands.
"""

import difflib
import re

#: Line that begins a cell. What follows the signs is read by `HEAD`.
CELL = re.compile(r"^# %%(?:$|\s)")
#: The whole line: kind of the cell (None: code), and what stands in the brackets of `tags=[...]`.
HEAD = re.compile(r"^# %%(?: \[(markdown)\])?(?: tags=\[((?:\"[^\"\\]+\"(?:, (?!\]))?)*)\])?\s*$")
#: A mark of checks: `# check 3.4-C1`, `# check 3.4-C1..C3`; in a page `<!-- check 1.8-C1 -->`.
CHECK = re.compile(r"(?:#|<!--)\s*check (\d+\.\d+)-C(\d+)(?:\s*(?:\.\.|to)\s*C?(\d+))?")

#: A link or an image: groups `image` ("!" or nothing), `text`, `target`; a quoted title may follow.
LINK = re.compile(
    r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]"
    r"\((?P<target>(?:[^()\s]|\([^()\s]*\))+)(?:\s+\"[^\"]*\")?\)"
)
#: The number of an equation, where it stands: `\tag{3.4.1}`.
EQUATION = re.compile(r"\\tag\{(\d+\.\d+\.\d+)\}")
#: The beginning of a caption in Markdown, and the words behind it: `**Figure 3.4.1.** Words`.
CAPTION = re.compile(r"^\*\*Figure (\d+\.\d+\.\d+)\.\*\*[^\S\n]*(.*)", re.M)
#: The text of the bold part of a caption, once Markdown is parsed: `Figure 3.4.1.`.
CAPTION_LABEL = re.compile(r"Figure (\d+\.\d+\.\d+)\.?$")
#: Headings of exercises and solutions in Markdown, any level: groups kind and number.
TASK = re.compile(r"^#+ (Exercise|Solution) (\d+\.\d+-\d+)\b", re.M)
#: The text of such a heading, once Markdown is parsed.
TASK_TITLE = re.compile(r"(Exercise|Solution) (\d+\.\d+-\d+)\b")
#: A line of a cell that is the heading of a solution.
SOLUTION = re.compile(r"^#{1,6} Solution (\d+\.\d+-\d+)\b.*$", re.M)
#: Before what is still to be written, in text and code.
TODO = "TODO:"
#: A heading with a number of three parts, which only equations and figures have.
NUMBERED_HEADING = re.compile(r"^##+ (\d+\.\d+\.\d+).*", re.M)
#: The heading of a part of a section: group 1 is its level, group 2 its words.
PART = re.compile(r"^(#{1,6}) +(.*?)[^\S\n]*$", re.M)
#: What prose refers to: an equation `(3.4.1)`, `Figure 3.4.1`, `Exercise 3.4-1` (a space that does
#: not break is a space). One of the three groups holds the number; `KINDS` names them in order.
MENTION = re.compile(
    r"(?<![\w.])\((\d+\.\d+\.\d+)\)"
    r"|\bFigure[ \xa0](\d+\.\d+\.\d+)(?![\w.]*\d)"
    r"|\bExercise[ \xa0](\d+\.\d+-\d+)(?!\d)"
)
KINDS = ("equation", "figure", "exercise")
#: A line of a page that the site fills in: `<!-- progress -->`, `<!-- start: ... -->`, `figure`.
PLACEHOLDER = re.compile(r"^<!-- (start|figure|progress)(?:: *([^>]*?))? -->$", re.MULTILINE)

#: Mathematics in Markdown, displayed or in a line.
MATHS = re.compile(r"\$\$.+?\$\$|(?<![\\$])\$(?!\s)[^$\n]+?\$", re.S)
#: A TeX command in it; `\mathbb{R}` counts as one.
COMMAND = re.compile(r"\\(?:mathbb\{\w\}|[A-Za-z]+)")
#: Code in Markdown, as a block or in a line.
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)

#: A line that a merge with a conflict leaves, also behind the `# ` of a Markdown cell.
CONFLICT = re.compile(r"^(?:# ?)?(?:(?:<{7}|>{7}|\|{7})(?: .*)?|={7})$", re.M)

#: MIME type of the data of a figure, beside its picture.
FIGURE_MIME = "application/vnd.d2l.figure+json"
#: Tags of the cells that papermill puts into a notebook that it runs.
INJECTED = frozenset({"injected-parameters", "papermill-error-cell-tag"})
#: Every tag that a cell of a section may have, and what it means.
TAGS = {
    "export": "its definitions go into the module of the chapter",
    "parameters": "names that a profile may set",
    "timing": "its numbers and pictures differ from run to run and are not compared",
    "chaotic": "the numbers of its figures are not compared, for training amplifies rounding",
    "generated": "its words come from a trained model and are not compared",
    "warns": "its warnings are shown on purpose",
    "notation": "begins with a table of notation, which the linter holds the book to",
    "hide-input": "the page folds its code away",
    "slide": "the slides show it in full",
    "no-slide": "the slides leave it out",
    "rtol=0.1": "its numbers may differ by this share of their size (any positive number)",
}
#: Tags that change the slides alone, and so neither outputs nor pages: show, leave out.
SLIDE_TAGS = ("slide", "no-slide")
_RTOL = re.compile(r"rtol=(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?")


def unknown_tag(tag: str) -> str | None:
    """What is wrong with a tag, with the nearest known one; None for a tag that has a meaning.

    >>> unknown_tag("rtol=0.2")
    >>> unknown_tag("timming")
    "'timming' is no tag; do you mean 'timing'?"
    """
    if tag in TAGS or (_RTOL.fullmatch(tag) and float(tag[5:]) > 0):
        return None
    if tag.startswith("rtol"):
        return f"{tag!r} is no tag; write a positive number, such as 'rtol=0.1'."
    near = difflib.get_close_matches(tag, TAGS, 1, 0.6)
    if near:
        return f"{tag!r} is no tag; do you mean {near[0]!r}?"
    return f"{tag!r} is no tag; there are: {', '.join(TAGS)}."


def blank(match: re.Match[str]) -> str:
    """Spaces for what a pattern matched, line breaks kept; for `sub`, to look past some text."""
    return re.sub(r"[^\n]", " ", match[0])


def line_of(text: str, position: int) -> int:
    """Number of the line on which a position of a text lies, from 0."""
    return text.count("\n", 0, position)


def term_anchor(phrase: str) -> str:
    """Anchor of the first place of a page that has a phrase in italics.

    >>> term_anchor("Weight decay")
    'term-weight-decay'
    """
    return "term-" + re.sub(r"[^a-z0-9]+", "-", phrase.lower()).strip("-")
