"""Addresses outside the site, from two settings: the repository, and where the site lies."""

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..book import BookError

COLAB = "https://colab.research.google.com/github"
KAGGLE = "https://kaggle.com/kernels/welcome"
BINDER = "https://mybinder.org/v2"
RAW = "https://raw.githubusercontent.com"
WHOLE = re.compile(r"https?://[^\s/?#@\"<>]+(?:/[^\s?#\"<>]*)?")
GITHUB = ("github.com", "www.github.com")
SETTINGS = ("repository_url", "repository_branch", "site_url", "site_branch")
#: Word in the name of a host -> how it names a file, and a new report.
HOSTS = {
    "github": ("{url}/blob/{branch}/{path}", "{url}/issues/new?{report}"),
    "gitlab": ("{url}/-/blob/{branch}/{path}", "{url}/-/issues/new?{report}"),
    "codeberg": ("{url}/src/branch/{branch}/{path}", "{url}/issues/new?{report}"),
    "gitea": ("{url}/src/branch/{branch}/{path}", "{url}/issues/new?{report}"),
}


@dataclass(frozen=True)
class Addresses:
    """What `[tool.bookbuild]` in pyproject.toml says of places; an empty one is not known.

    Attributes
    ----------
    repository, branch
        The repository, and the branch with the book's files.
    site, site_branch
        Address of the published pages, and the branch of the repository that holds them, from
        which services open the notebooks to download.
    """

    repository: str = ""
    branch: str = "main"
    site: str = ""
    site_branch: str = "gh-pages"

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Addresses":
        """The addresses of a book's settings.

        Raises
        ------
        BookError
            For a value that is no whole address, and for a setting that nothing reads.
        """
        for name in settings:
            if name.endswith(("_url", "_branch")) and name not in SETTINGS:
                raise BookError(
                    f"pyproject.toml: [tool.bookbuild] knows no {name}; places are named by "
                    f"{', '.join(SETTINGS)}."
                )
        places = {name: str(settings.get(f"{name}_url") or "") for name in ("repository", "site")}
        for name, value in places.items():
            if value and not WHOLE.fullmatch(value):
                raise BookError(
                    f"pyproject.toml: [tool.bookbuild] {name}_url is {value!r}; write the whole "
                    "address, such as https://example.org/book, or leave it empty."
                )
        if places["site"].endswith((".html", ".htm")):
            raise BookError(
                f"pyproject.toml: [tool.bookbuild] site_url is {places['site']!r}; write the "
                "folder of the pages, without a page's name."
            )
        found = cls(
            places["repository"].rstrip("/").removesuffix(".git"),
            str(settings.get("repository_branch") or "main"),
            places["site"].rstrip("/"),
            str(settings.get("site_branch") or "gh-pages"),
        )
        place = urllib.parse.urlsplit(found.repository)
        if place.hostname in GITHUB and not re.fullmatch(r"/[\w.-]+/[\w.-]+", place.path):
            raise BookError(
                f"pyproject.toml: [tool.bookbuild] repository_url is {places['repository']!r}; "
                "write that of a repository, such as https://github.com/owner/name."
            )
        return found

    @property
    def host(self) -> str:
        """The kind of host: a key of `HOSTS`, or nothing."""
        name = urllib.parse.urlsplit(self.repository).hostname or ""
        return next((kind for kind in HOSTS if kind in name), "")

    @property
    def on_github(self) -> str:
        """Owner and name of a repository on github.com, else nothing."""
        place = urllib.parse.urlsplit(self.repository)
        return place.path.strip("/") if place.hostname in GITHUB else ""

    def page(self, name: str) -> str:
        """A page of the published site."""
        return f"{self.site}/{urllib.parse.quote(name)}" if self.site else ""

    def download(self, name: str) -> str:
        """A file to download, on the site, else in the branch that holds it."""
        path = urllib.parse.quote(f"downloads/{name}")
        if self.site:
            return f"{self.site}/{path}"
        return f"{RAW}/{self.on_github}/{self.site_branch}/{path}" if self.on_github else ""

    def source(self, path: str) -> str:
        """A file of the repository; the repository itself where the kind of host is not known."""
        if not self.host:
            return self.repository
        form, branch = HOSTS[self.host][0], urllib.parse.quote(self.branch)
        return form.format(url=self.repository, branch=branch, path=urllib.parse.quote(path))

    def report(self, section: str, version: str) -> str:
        """A new report of an error in a section: a form that knows the section and the version."""
        if not self.host:
            return ""
        if self.host == "github":
            fields = {"template": "text.yml", "title": f"{section}: "}
            fields |= {"section": section, "version": version}
        else:
            words = ("issue[title]", "issue[description]") if self.host == "gitlab" else None
            title, body = words or ("title", "body")
            fields = {title: f"{section}: ", body: f"Section {section}, version {version}\n\n"}
        query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)
        return HOSTS[self.host][1].format(url=self.repository, report=query)

    def launches(self, name: str) -> dict[str, str]:
        """Name of a service -> address at which it opens a notebook, given without its ending.

        Colab and Kaggle know nothing of the book, so they get the notebook to download, whose
        first cell installs the helper. Binder installs it, so it gets the notebook of the book.
        """
        if not self.repository:
            return {}
        found = {}
        path = urllib.parse.quote(f"downloads/{name}.ipynb")
        if self.on_github:
            there = f"{self.on_github}/blob/{urllib.parse.quote(self.site_branch)}/{path}"
            found["Colab"] = f"{COLAB}/{there}"
            found["Kaggle"] = f"{KAGGLE}?src=https://github.com/{there}"
        place = f"git/{urllib.parse.quote(self.repository, safe='')}"
        if self.on_github:
            place = f"gh/{self.on_github}"
        lab = urllib.parse.quote(f"lab/tree/book/{name}.ipynb")
        branch = urllib.parse.quote(self.branch, safe="")
        found["Binder"] = f"{BINDER}/{place}/{branch}?urlpath={lab}"
        return found
