"""The content-security policy of every page."""

import base64
import hashlib
import re
from pathlib import Path

INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
RULES = (
    "default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'"
)


def protected(page: str) -> str:
    """A page with its policy: only files of the site, of inline scripts only those there now.

    A script that gets into a page later, through a notebook's output or a broken mirror, does not
    run, and nothing is asked of another host. Styles may stand inline, because rendered
    mathematics has them on every symbol.

    Examples
    --------
    >>> "script-src 'self' ;" in protected("<head></head>")
    True
    """
    bare = POLICY.sub("", page, count=1)
    scripts = {match[1] for match in INLINE.finditer(bare) if match[1].strip()}
    rules = RULES.format(scripts=" ".join(sorted(map(_hash, scripts))))
    head, mark, rest = bare.partition("<head>")
    return f'{head}{mark}<meta http-equiv="Content-Security-Policy" content="{rules}">{rest}'


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def protect(stage: Path) -> None:
    """Give every page of a folder its policy; a page that has it stays untouched."""
    for page in stage.rglob("*.html"):
        if "_static" not in page.relative_to(stage).parts:
            text = page.read_text(encoding="utf-8")
            new = protected(text)
            if new != text:
                page.write_text(new, encoding="utf-8")
