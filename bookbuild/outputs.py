# STUB
from . import lint


def problems(section, notebook, root):
    return lint.missing_alt(section, notebook) + lint.private_outputs(section, notebook, root)
