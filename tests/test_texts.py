"""Corpora read into sentences, and the toy world."""

from collections import Counter
from pathlib import Path

import pytest

import d2l_helpers as d2l
from d2l_helpers.texts import ToyWorld, paragraphs, tagged_sentences, word_sentences


def corpus(tmp_path: Path, name: str, **texts: str) -> d2l.Dataset:
    """A corpus of some files; a double underscore stands for a folder, a single one for a dot."""
    files = {}
    for key, text in texts.items():
        path = tmp_path / key.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        files[str(path.relative_to(tmp_path))] = path
    return d2l.Dataset(name, "real", tmp_path, files)


def test_tags_stand_behind_the_last_sign(tmp_path: Path) -> None:
    found = corpus(
        tmp_path,
        "brown",
        brown__README="no/text here/nn",
        brown__ca01="\n\n\tThe/at 1//2/cd Dog/nn ./.\n\n\n\tIt/pps ran/vbd\n",
        brown__cats_txt="ca01 news",
    )
    assert tagged_sentences(found) == [
        [("The", "at"), ("1//2", "cd"), ("Dog", "nn"), (".", ".")],
        [("It", "pps"), ("ran", "vbd")],
    ]
    assert word_sentences(found) == [["the", "dog"], ["it", "ran"]]


def test_masc_uses_another_sign(tmp_path: Path) -> None:
    found = corpus(
        tmp_path,
        "masc-tagged",
        masc__a_txt="We_PRP 're_VBP in_IN\n\n!_.\n",
        masc__categories_txt="a b",
    )
    assert tagged_sentences(found)[0][1] == ("'re", "VBP")
    assert word_sentences(found) == [["we", "in"]]  # a sentence without a word is left out


def test_paragraphs_keep_their_sentences_apart(tmp_path: Path) -> None:
    text = " \n = Title = \n \n The U.S. lost , 3 @.@ 5 to 1 . It rained . \n A <unk> came . \n"
    found = corpus(tmp_path, "wikitext-2", valid_txt=text)
    assert paragraphs(found) == [
        ["The U.S. lost , 3 @.@ 5 to 1", "It rained"],
        ["A <unk> came"],
    ]
    assert word_sentences(found) == [["the", "lost", "to"], ["it", "rained"], ["a", "came"]]


def test_a_review_is_one_paragraph(tmp_path: Path) -> None:
    found = corpus(tmp_path, "movie-reviews", pos__1_txt="good plot .\nwell made , too . go\n")
    assert paragraphs(found) == [["good plot", "well made , too", "go"]]


@pytest.mark.parametrize("reader", [tagged_sentences, paragraphs, word_sentences])
def test_another_set_is_named(tmp_path: Path, reader: object) -> None:
    with pytest.raises(ValueError, match="'co2' cannot be read here; fetch one of"):
        reader(corpus(tmp_path, "co2"))  # type: ignore[operator]


def test_the_toy_world_contradicts_nothing() -> None:
    world = ToyWorld(3)
    known = set(world.words)
    for _ in range(500):
        scene = world.scene()
        allowed = {*scene, world.kinds[scene.noun], *"the it is near .".split()}
        first, *later = [world.sentence(scene, first=i == 0) for i in range(4)]
        assert first[0] != "it" and {*first}.union(*later) <= allowed <= known
        for sentence in (first, *later):
            told = set(sentence) & {scene.adjective, scene.verb, scene.place}
            assert sentence[-1] == "." and told


def test_the_toy_world_uses_all_its_words_and_repeats_itself() -> None:
    texts = [[world.paragraph() for _ in range(300)] for world in (ToyWorld(5), ToyWorld(5))]
    assert texts[0] == texts[1] != [ToyWorld(6).paragraph() for _ in range(300)]
    counts = Counter(word for text in texts[0] for sentence in text for word in sentence)
    assert set(counts) == set(ToyWorld.words) and len(ToyWorld.words) == 39
    assert all(ToyWorld.opposites[ToyWorld.opposites[word]] == word for word in ToyWorld.opposites)
    with pytest.raises(ValueError, match="sentences is 0"):
        ToyWorld().paragraph(0)
