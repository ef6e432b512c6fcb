"""What an author and CI run: pair, export, run, check, site. See `python -m bookbuild --help`."""

import sys

# jsonschema, behind nbformat, builds grammars of internationalized addresses from this package when
# it is imported: a second of CPU at every start. It does without where the package is missing, and
# the schema of a notebook has no such address.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
