"""Text for the chapters on language: corpora read into sentences, and a toy world with answers.

The corpora come as `Dataset` from `fetch`; what their files look like is not taught in the book.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .data import Dataset

#: A corpus of tagged words -> the sign between a word and its tag.
_TAGGED = {"brown": "/", "masc-tagged": "_"}
_PLAIN = ("wikitext-2", "movie-reviews")


def _texts(found: Dataset) -> Iterator[str]:
    """The texts of a corpus, in the order of its files."""
    for path in found.files.values():
        listing = path.name in ("categories.txt", "cats.txt")
        if not listing and (path.suffix == ".txt" or re.fullmatch(r"c[a-r]\d\d", path.name)):
            yield path.read_text(encoding="utf-8")


def _known(found: Dataset, names: tuple[str, ...]) -> None:
    if found.name not in names:
        raise ValueError(f"{found.name!r} cannot be read here; fetch one of {', '.join(names)}.")


def tagged_sentences(found: Dataset) -> list[list[tuple[str, str]]]:
    """Sentences of a corpus with parts of speech.

    Parameters
    ----------
    found
        ``fetch("brown")`` or ``fetch("masc-tagged")``.

    Returns
    -------
    list
        For each sentence its pairs of a word and its tag, as in the files: capitals stay, and the
        tags are the corpus's own (Brown's, or the Penn Treebank's).

    Raises
    ------
    ValueError
        For another data set.
    """
    _known(found, tuple(_TAGGED))
    sign = _TAGGED[found.name]
    lines = (line.split() for text in _texts(found) for line in text.splitlines())
    split = ([token.rpartition(sign) for token in line] for line in lines if line)
    return [[(word, tag) for word, _, tag in line] for line in split]


def paragraphs(found: Dataset) -> list[list[str]]:
    """Paragraphs of a corpus without tags, each a list of sentences.

    Parameters
    ----------
    found
        ``fetch("wikitext-2")``, whose paragraphs are its lines, or ``fetch("movie-reviews")``,
        whose paragraphs are whole reviews.

    Returns
    -------
    list
        For each paragraph its sentences, whose tokens stand between blanks. A full stop between
        blanks, or the end of a line, ends a sentence and is left out. Headings are left out.

    Raises
    ------
    ValueError
        For another data set.
    """
    _known(found, _PLAIN)
    blocks = (
        block
        for text in _texts(found)
        for block in (text.splitlines() if found.name == "wikitext-2" else [text])
        if not block.startswith(" = ")
    )
    split = ([s.strip() for s in re.split(r" \. | \.?\n", block)] for block in blocks)
    kept = ([s.removesuffix(" .") for s in block if s] for block in split)
    return [block for block in kept if block]


def word_sentences(*found: Dataset) -> list[list[str]]:
    """The words of corpora, sentence by sentence: lower case, letters only.

    Parameters
    ----------
    *found
        Corpora that `tagged_sentences` or `paragraphs` reads.

    Returns
    -------
    list
        Sentences in the order of the corpora and their files. Tokens that hold anything but
        letters (numbers, marks, ``well-known``, ``don't``) are left out, and so are sentences
        without a word.

    Raises
    ------
    ValueError
        For another data set.
    """
    result = []
    for one in found:
        _known(one, (*_TAGGED, *_PLAIN))
        if one.name in _TAGGED:
            sentences = ([word for word, _ in s] for s in tagged_sentences(one))
        else:
            sentences = (s.split() for block in paragraphs(one) for s in block)
        for sentence in sentences:
            words = [word.lower() for word in sentence if word.isalpha()]
            if words:
                result.append(words)
    return result


class Scene(NamedTuple):
    """What is so in one scene of the toy world: who, what it is like, does, and near what."""

    noun: str
    adjective: str
    verb: str
    place: str


class ToyWorld:
    """Short texts about scenes; what is true in a scene is known.

    A scene is a noun, one of its adjectives, one of its verbs and a place. Every sentence states
    a random part of its scene; "the animal" and "it" may stand for "the dog". The same seed, the
    same texts.

    Attributes
    ----------
    kinds
        Noun -> the word above it: ``"dog"`` -> ``"animal"``.
    opposites
        Adjective or verb -> its opposite.
    categories
        ``"noun"``, ``"adjective"``, ``"verb"`` and ``"place"`` -> their words.
    words
        All word types, sorted within each group; with five special tokens of a model, 44.

    Examples
    --------
    >>> len(ToyWorld.words) + 5
    44
    >>> ToyWorld.kinds["owl"], ToyWorld.opposites["slow"]
    ('bird', 'fast')
    """

    kinds = {
        noun: kind
        for kind, nouns in {
            "animal": "dog cat horse",
            "bird": "owl duck crow",
            "person": "king nurse farmer",
            "vehicle": "car bus boat",
        }.items()
        for noun in nouns.split()
    }
    _pairs = {
        "adjective": "big-small old-new fast-slow clean-dirty".split(),
        "verb": "waits-leaves rises-falls starts-stops".split(),
    }
    opposites = {
        word: other
        for pairs in _pairs.values()
        for pair in pairs
        for word, other in (pair.split("-"), pair.split("-")[::-1])
    }
    categories = {
        "noun": [*kinds],
        "adjective": "-".join(_pairs["adjective"]).split("-"),
        "verb": "-".join(_pairs["verb"]).split("-"),
        "place": "river hill house tree".split(),
    }
    words = [
        *"the it is near .".split(),
        *(word for group in categories.values() for word in group),
        *dict.fromkeys(kinds.values()),
    ]

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)

    def _one(self, words: list[str]) -> str:
        return words[int(self.rng.integers(len(words)))]

    def scene(self) -> Scene:
        """A scene; its four parts are drawn independently."""
        return Scene(*(self._one(self.categories[part]) for part in self.categories))

    def sentence(self, scene: Scene, first: bool = True) -> list[str]:
        """A sentence, with its full stop, that states a part of the scene.

        Parameters
        ----------
        scene
            What is so.
        first
            Whether nothing was said of the scene before; otherwise "it" may be the subject.
        """
        where = ["near", "the", scene.place]
        u, v = self.rng.random(2)
        if u < 0.2 and not first:
            subject = ["it"]
        else:
            noun = scene.noun if u < 0.75 else self.kinds[scene.noun]
            told = [scene.adjective] if self.rng.random() < 0.5 else []
            subject = ["the", *told, noun]
        if v < 0.3 and scene.adjective not in subject:
            rest = ["is", scene.adjective]
        elif v < 0.45:
            rest = ["is", *where]
        else:
            rest = [scene.verb, *(where if v < 0.75 else [])]
        return [*subject, *rest, "."]

    def paragraph(self, sentences: int = 3) -> list[list[str]]:
        """Sentences about one scene; raises `ValueError` for fewer than one."""
        if sentences < 1:
            raise ValueError(f"sentences is {sentences}; a paragraph needs at least 1.")
        scene = self.scene()
        return [self.sentence(scene, first=i == 0) for i in range(sentences)]
