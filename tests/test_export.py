"""Exported modules mean what their sections say: each fault is refused with file and line."""

import subprocess
import sys

import pytest

from bookbuild import export
from bookbuild.book import BookError


def line_of(path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def exported(text: str) -> str:
    return f'tags=["export"]\n{text}'


def test_a_name_of_two_sections(mini):
    mini.add("one", exported("def f():\n    return 1"))
    path = mini.add("two", exported("def f():\n    return 2"))
    with pytest.raises(
        BookError, match="'f' is exported a second time, first in .*01-one.py:"
    ) as e:
        export.modules(mini.book)
    assert str(e.value).startswith(f"book/01-start/02-two.py:{line_of(path, 'def f')} (cell 2)")


ADD = "def add_to_class(cls):\n    return lambda f: setattr(cls, f.__name__, f) or f"


def test_methods_of_two_classes_may_have_one_name(mini):
    mini.add("one", exported(ADD), exported("class A:\n    pass"))
    mini.add("two", exported("class B:\n    pass"))
    mini.add("three", exported("@add_to_class(A)\ndef f(self):\n    return 1"))
    mini.add("four", exported("@add_to_class(B)\ndef f(self):\n    return 2"))
    scope: dict = {}
    exec(next(t for p, t in export.modules(mini.book).items() if p.name == "start.py"), scope)
    assert scope["A"]().f() == 1 and scope["B"]().f() == 2


def test_one_method_of_two_sections(mini):
    mini.add("one", exported(ADD), exported("class A:\n    pass"))
    mini.add("two", exported("@add_to_class(A)\ndef f(self):\n    return 1"))
    mini.add("three", exported("@add_to_class(A)\ndef f(self):\n    return 2"))
    with pytest.raises(BookError, match=r"03-three.py.*'A\.f' is exported a second time"):
        export.modules(mini.book)


@pytest.mark.parametrize(
    "early",
    [
        "class A(B):\n    pass",
        "x = B()",
        "def f(x=B()):\n    return x",
        "class A:\n    b = B()",
        "x = [B() for _ in range(2)]",
    ],
)
def test_what_is_needed_at_import_comes_before(mini, early):
    path = mini.add("one", exported(early))
    mini.add("two", exported("class B:\n    pass"))
    with pytest.raises(
        BookError, match="'B' is needed here .* defined later, in .*02-two.py:"
    ) as e:
        export.modules(mini.book)
    assert str(e.value).startswith(f"book/01-start/01-one.py:{line_of(path, 'B')} (cell 2)")


def test_what_is_needed_when_called_may_come_later(mini):
    mini.add("one", exported("def f():\n    return B()\n\n\ng = [lambda: B()]"))
    mini.add("two", exported("class B:\n    pass"))
    text = next(t for p, t in export.modules(mini.book).items() if p.name == "start.py")
    scope: dict = {}
    exec(text, scope)
    assert type(scope["f"]()) is scope["B"]


def two_chapters(mini, *cells: str):
    """A second chapter `02-end` whose only section has these cells; returns its path."""
    plan = mini.root / "book" / "contents.toml"
    path = mini.add("last", *cells)
    mini.names.popitem()
    mini._plan()
    plan.write_text(
        plan.read_text()
        + '[[chapter]]\nnumber = 2\ntitle = "End"\nfolder = "02-end"\npart = "Basics"\nsections = '
        '[{ id = "2.1", title = "last", file = "01-last", checks = 1, exercises = 0 }]\n'
    )
    target = mini.root / "book" / "02-end" / "01-last.py"
    target.parent.mkdir()
    target.write_text(path.read_text())
    path.unlink()
    return target


def test_imports_point_to_earlier_chapters(mini):
    first = mini.add(
        "one",
        "from d2l_helpers.chapters.end import g",
        exported("def f():\n    return g()"),
    )
    two_chapters(mini, exported("def g():\n    return 1"))
    with pytest.raises(BookError, match="takes 'g' from chapter 2, End, which comes later") as e:
        export.modules(mini.book)
    line = line_of(first, "chapters.end")
    assert str(e.value).startswith(f"book/01-start/01-one.py:{line} (cell 2)")


def test_a_section_does_not_import_what_it_exports(mini):
    path = mini.add(
        "one", "from d2l_helpers.chapters.start import f", exported("def f():\n    return 1")
    )
    with pytest.raises(BookError, match="imports 'f', which this section exports itself") as e:
        export.modules(mini.book)
    line = line_of(path, "chapters.start")
    assert str(e.value).startswith(f"book/01-start/01-one.py:{line} (cell 2)")


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return math.sqrt(x)\n\n\ndef g(math):\n    return math",
        "def f(x):\n    return math.sqrt(x)\n\n\ndef g():\n    math = 1\n    return math",
        "def f(x):\n    return [math.sqrt(x) for math in (math,)][0]",
        "class A:\n    math = 1\n\n    def f(self, x):\n        return math.sqrt(x)\n\n\nf = A().f",
    ],
)
def test_a_name_bound_in_another_scope_keeps_its_import(mini, code):
    mini.add("one", "import math", exported(code))
    text = next(t for p, t in export.modules(mini.book).items() if p.name == "start.py")
    assert "\nimport math\n" in text
    scope: dict = {}
    exec(text, scope)
    assert scope["f"](4) == 2


@pytest.mark.parametrize(
    "patch",
    [
        "@add_to_class(A)\ndef g(self):\n    return 2",
        "A.g = lambda self: 2",
        "setattr(A, 'g', lambda self: 2)",
        "A.g, other = 1, 2",
    ],
)
def test_no_class_of_an_earlier_chapter_is_changed(mini, patch):
    mini.add("one", exported(ADD), exported("class A:\n    pass"))
    path = two_chapters(
        mini, "from d2l_helpers.chapters.start import A, add_to_class", exported(patch)
    )
    with pytest.raises(BookError, match="changes 'A', which another module defines") as e:
        export.modules(mini.book)
    assert str(e.value).startswith("book/02-end/01-last.py:") and path.exists()


def test_behaviour_does_not_depend_on_which_chapters_were_imported():
    """A `Module` of Chapter 3 stays what it was when later chapters are loaded."""
    code = (
        "import pkgutil, importlib, d2l_helpers.chapters as c\n"
        "from d2l_helpers.chapters.linear_regression import Module\n"
        "before = dict(vars(Module))\n"
        "for m in pkgutil.iter_modules(c.__path__):\n"
        "    importlib.import_module(f'{c.__name__}.{m.name}')\n"
        "assert dict(vars(Module)) == before, set(vars(Module)) - set(before)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
