"""The grammar of a section as the site knows it: links, numbers of figures and equations."""

import re

FIGURE_MIME = "application/vnd.d2l.figure+json"
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
CAPTION = re.compile(r"\*\*Figure (\d+\.\d+\.\d+)\.\*\*\s*(.*)")  # in Markdown
CAPTION_START = re.compile(r"Figure (\d+\.\d+\.\d+)\.?$")  # its bold words, in a document tree
TAG = re.compile(r"\\tag\{(\d+\.\d+\.\d+)\}")
HEADING = re.compile(r"(Exercise|Solution) (\d+\.\d+-\d+)\b")
MENTION = re.compile(
    r"(?<![\w.])\((\d+\.\d+\.\d+)\)"
    r"|\bFigure[ \xa0](\d+\.\d+\.\d+)(?![\w.]*\d)"
    r"|\bExercise[ \xa0](\d+\.\d+-\d+)(?!\d)"
)
