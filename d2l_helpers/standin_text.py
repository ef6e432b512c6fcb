"""Stand-ins of the texts, tables and vocabularies of chapters 9 to 16, and of the weights.

Each maker yields paths with bytes, or with named arrays for weights. One small grammar writes all
of the text, so that sentences have parts of speech, chunks, names and a meaning that can be told.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from typing import Any, NamedTuple
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Part = tuple[str, bytes | Arrays]

# English, French, German; the same places in the lists mean the same.
NOUNS = (
    "dog cat man woman child horse bird car house river tree boat teacher farmer king train",
    "chien chat homme femme enfant cheval oiseau voiture maison rivière arbre bateau professeur "
    "fermier roi train",
    "Hund Katze Mann Frau Kind Pferd Vogel Auto Haus Fluss Baum Boot Lehrer Bauer König Zug",
)
ADJECTIVES = (
    "big small old young red green happy sad quiet fast good bad",
    "grand petit vieux jeune rouge vert heureux triste calme rapide bon mauvais",
    "groß klein alt jung rot grün froh traurig still schnell gut schlecht",
)
VERBS = (
    "saw followed found loved painted met heard watched left called pulled helped",
    "voyait suivait trouvait aimait peignait rencontrait entendait regardait quittait appelait "
    "tirait aidait",
    "sah folgte fand liebte malte traf hörte beobachtete verließ rief zog half",
)
PLACES = ("near behind under beside", "devant derrière sous contre", "nahe hinter unter neben")
DETERMINERS = ("the a", "le un", "der ein")
BEING = (
    "I'm|I am|he's|he is|she's|she is|you're|you are|we're|we are|they're|they are".split("|"),
    "je suis|je suis|il est|il est|elle est|elle est|tu es|tu es|nous sommes|nous sommes|ils sont|"
    "ils sont".split("|"),
)
NAMES = "Anna Paul Weena Emma Henry London Paris Bath Oxford Rome".split()
GOOD = "wonderful brilliant moving funny charming clever fine fresh warm gripping".split()
BAD = "dull awful boring silly clumsy flat stale weak tedious empty".split()
ASPECTS = "plot acting music story film ending script camera cast humour".split()


class Word(NamedTuple):
    """A word with its part of speech (universal, Penn, Brown), chunk, place of its head, role."""

    text: str
    pos: str
    penn: str
    brown: str
    chunk: str
    head: int
    role: str


class Writer:
    """Writes sentences; the same seed, the same text."""

    def __init__(self, *seed: int):
        self.rng = np.random.default_rng(seed)
        self._drawn: list[float] = []
        self.nouns = [*NOUNS[0].split(), *_invented("")]

    def u(self) -> float:
        if not self._drawn:
            self._drawn = self.rng.random(4096).tolist()
        return self._drawn.pop()

    def pick(self, words: Sequence[str]) -> str:
        """A word; the first in a list come often, as in a language."""
        return words[int(len(words) * self.u() * self.u() * self.u())]

    def even(self, words: Sequence[str]) -> str:
        """A word, each as often as another."""
        return words[int(len(words) * self.u())]

    def _phrase(self, start: int, head: int, role: str) -> list[Word]:
        """A name, or an article, perhaps an adjective, and a noun."""
        if self.u() < 0.25:
            return [Word(self.even(NAMES), "PROPN", "NNP", "np", "B-NP", head, role)]
        adjective = self.u() < 0.4
        noun = start + 1 + adjective
        words = [Word(self.even(DETERMINERS[0].split()), "DET", "DT", "at", "B-NP", noun, "det")]
        if adjective:
            text = self.even(ADJECTIVES[0].split())
            words.append(Word(text, "ADJ", "JJ", "jj", "I-NP", noun, "amod"))
        return [*words, Word(self.pick(self.nouns), "NOUN", "NN", "nn", "I-NP", head, role)]

    def sentence(self) -> list[Word]:
        """Subject, verb, object, perhaps a place, full stop; heads count from 1."""
        subject = self._phrase(1, 0, "nsubj")
        verb = len(subject) + 1
        words = [word._replace(head=verb) if word.head == 0 else word for word in subject]
        words.append(Word(self.even(VERBS[0].split()), "VERB", "VBD", "vbd", "B-VP", 0, "root"))
        words += self._phrase(len(words) + 1, verb, "obj")
        if self.u() < 0.5:
            at = len(words) + 1
            where = self._phrase(at + 1, verb, "obl")
            text = self.even(PLACES[0].split())
            words.append(Word(text, "ADP", "IN", "in", "B-PP", at + len(where), "case"))
            words += where
        return [*words, Word(".", "PUNCT", ".", ".", "O", verb, "punct")]

    def plain(self) -> str:
        """A sentence as it is printed."""
        text = " ".join(word.text for word in self.sentence()[:-1])
        return f"{text[0].upper()}{text[1:]}."

    def pair(self) -> tuple[str, ...]:
        """A sentence in English, French and German, word by word."""
        lists = [DETERMINERS, ADJECTIVES, NOUNS, VERBS, DETERMINERS, NOUNS]
        if self.u() < 0.4:
            lists += [PLACES, DETERMINERS, NOUNS]
        chosen = [int(len(words[0].split()) * self.u()) for words in lists]
        return tuple(
            " ".join(words[i].split()[k] for words, k in zip(lists, chosen, strict=True))
            for i in range(3)
        )

    def description(self) -> tuple[str, str]:
        """Who is what, or what and where, in English and French."""
        pairs = [DETERMINERS, NOUNS, PLACES, DETERMINERS, NOUNS]
        if self.u() < 0.4:
            pairs = [DETERMINERS, ADJECTIVES, NOUNS]
        place = int(len(BEING[0]) * self.u())
        english, french = ([words[place]] for words in BEING)
        for words in pairs:
            k = int(len(words[0].split()) * self.u())
            english.append(words[0].split()[k])
            french.append(words[1].split()[k])
        return " ".join(english), " ".join(french)

    def opinion(self, good: bool, clauses: int) -> str:
        """Clauses about a film; half of the time the opposite is denied."""
        parts = []
        for _ in range(clauses):
            denied = self.u() < 0.5
            word = self.even(GOOD if good != denied else BAD)
            parts.append(f"the {self.even(ASPECTS)} was {'not ' if denied else ''}{word}")
        return " , and ".join(parts) + " ."

    def inference(self) -> tuple[str, str, str]:
        """Premise, hypothesis and what the premise says about the hypothesis."""
        noun, verb, other = (self.even(x[0].split()) for x in (NOUNS, VERBS, NOUNS))
        adjective, place = self.even(ADJECTIVES[0].split()), self.even(PLACES[0].split())
        label = self.even(("entailment", "contradiction", "neutral"))
        premise = f"A {adjective} {noun} {verb} the {other} ."
        told = {
            "entailment": f"A {noun} {verb} the {other} .",
            "contradiction": f"Nobody {verb} the {other} .",
            "neutral": f"A {noun} {verb} the {other} {place} the house .",
        }
        return premise, told[label], label


def _invented(ending: str) -> list[str]:
    """3,000 words that are in no dictionary."""
    starts = "b c d f g h k l m n p r s t v br dr gl pl st".split()
    middles = "ala ari ato eba eli emo eru ika ilo ita ola omi ona ura uvo".split()
    ends = "n r s t l m d k p x".split()
    return [a + b + c + ending for c in ends for b in middles for a in starts]


def _lines(lines: Iterator[str] | Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _prose(writer: Writer, size: int, head: str) -> bytes:
    """Paragraphs of lines, about `size` characters."""
    text, length = [head], len(head)
    while length < size:
        paragraph, line = [], ""
        for _ in range(3 + int(5 * writer.u())):
            for word in writer.plain().split():
                if len(line) + len(word) > 69:
                    paragraph.append(line)
                    line = ""
                line = f"{line} {word}" if line else word
        paragraph.append(line)
        text.append("\n".join(paragraph))
        length += len(text[-1]) + 2
    return ("\n\n".join(text) + "\n").encode()


def _zip(members: dict[str, bytes]) -> bytes:
    """A zip without compression, of the same bytes everywhere."""
    buffer = BytesIO()
    with ZipFile(buffer, "w") as zipped:
        for name, content in members.items():
            info = ZipInfo(name)
            info.create_system = 3
            zipped.writestr(info, content)
    return buffer.getvalue()


# chapters 9 to 12


def time_machine() -> Iterator[Part]:
    yield (
        "timemachine.txt",
        _prose(Writer(20), 178_979, "The Time Machine, a stand-in [2024]\n\n\n"),
    )


def austen() -> Iterator[Part]:
    yield "austen.txt", _prose(Writer(21), 4_025_043, "A STAND-IN\n\nby nobody\n\n\nCHAPTER 1\n")


def tiny_shakespeare() -> Iterator[Part]:
    writer, text, length = Writer(22), [], 0
    while length < 1_115_394:
        lines = "\n".join(writer.plain() for _ in range(1 + int(3 * writer.u())))
        text.append(f"{writer.even(NAMES)}:\n{lines}\n")
        length += len(text[-1]) + 1
    yield "tinyshakespeare.txt", "\n".join(text).encode()


def fra_eng() -> Iterator[Part]:
    writer, lines = Writer(23), []
    for i in range(167_130):
        english, french, *_ = writer.pair() if i % 12 else writer.description()
        lines.append(f"{english.capitalize()}.\t{french.capitalize()} .")
    yield "fra.txt", _lines(sorted(lines, key=len))


def multi30k() -> Iterator[Part]:
    writer = Writer(24)
    for part, n in (("train", 29_000), ("val", 1014), ("test_2016_flickr", 1000)):
        rows = [writer.pair() for _ in range(n)]
        for i, language in ((0, "en"), (2, "de"), (1, "fr")):
            yield f"{part}.{language}", _lines([f"{row[i].capitalize()}." for row in rows])


def sunspots() -> Iterator[Part]:
    """A damped cycle of about eleven years that noise keeps going."""
    rng, before, now, lines = np.random.default_rng(25), 0.0, 30.0, ['"YEAR","SUNACTIVITY"']
    for year in range(1700, 2009):
        push = float(rng.random() + rng.random() - 1) * 60
        before, now = now, 1.4 * now - 0.7 * before + push
        lines.append(f"{year},{max(now + 50, 0):.1f}")
    yield "sunspots.csv", _lines(lines)


def co2() -> Iterator[Part]:
    """A bent trend, a yearly wave and noise; in a few weeks nobody measured."""
    rng, lines = np.random.default_rng(27), ["date,co2"]
    first = np.datetime64("1958-03-29")
    for week in range(2284):
        years = week * 7 / 365.25
        level = 315 + 0.8 * years + 0.012 * years**2
        wave = 2.8 * _sine(years) + 0.3 * float(rng.random() + rng.random() - 1)
        day = str(first + 7 * week).replace("-", "")
        missing = week != 0 and rng.random() < 0.025
        lines.append(f"{day}," if missing else f"{day},{level + wave:.1f}")
    yield "co2.csv", _lines(lines)


def _sine(turns: float) -> float:
    """Near enough to sin(2 pi turns), of the same bits on every machine."""
    x = turns % 1.0
    half = x if x < 0.5 else x - 0.5
    arch = 16 * half * (0.5 - half)
    return arch if x < 0.5 else -arch


def airfoil() -> Iterator[Part]:
    """Five features and a level that falls with frequency and thickness."""
    rng, lines = np.random.default_rng(26), []
    for _ in range(1503):
        a, b, c, d, e, noise = rng.random(6).tolist()
        frequency, angle = int(200 + 19800 * a * a * a), round(22.2 * b * b, 1)
        chord, speed = (0.0254, 0.1016, 0.2286, 0.3048)[int(4 * c)], (31.7, 71.3)[int(2 * d)]
        thick = round(0.0004 + 0.05 * e * b, 8)
        level = 130 - 0.0011 * frequency - 0.3 * angle - 35 * chord + 0.08 * speed - 100 * thick
        values = (frequency, angle, chord, speed, thick, round(level + 8 * (noise - 0.5), 3))
        lines.append("\t".join(map(str, values)))
    yield "airfoil_self_noise.dat", _lines(lines)


# chapters 15 and 16


def movie_reviews() -> Iterator[Part]:
    writer = Writer(30)
    for folder in ("neg", "pos"):
        for i in range(1000):
            lines = [writer.opinion(folder == "pos", 1 + int(3 * writer.u())) for _ in range(30)]
            yield f"movie_reviews/{folder}/cv{i:03}_{10_000 + i}.txt", _lines(lines)
    yield "movie_reviews/README", b"Made by code.\n"


def sentence_polarity() -> Iterator[Part]:
    writer = Writer(31)
    for ending in ("pos", "neg"):
        lines = [writer.opinion(ending == "pos", 1 + int(3 * writer.u())) for _ in range(5331)]
        yield f"rt-polarity.{ending}", _lines(lines)


def masc_tagged() -> Iterator[Part]:
    writer, kinds = Writer(32), []
    for i in range(392):
        name = f"{'spoken' if i < 20 else 'written'}/{i:03}.txt"
        kinds.append(f"{name} {'court-transcript' if i < 20 else 'fiction'}")
        rows = [" ".join(f"{w.text}_{w.penn}" for w in writer.sentence()) for _ in range(180)]
        yield f"masc_tagged/{name}", _lines(rows)
    yield "masc_tagged/categories.txt", _lines(kinds)


def brown() -> Iterator[Part]:
    writer, names = Writer(33), []
    for i in range(500):
        names.append(f"c{'abcdefghjklmnpr'[i * 15 // 500]}{i % 100:02}")
        rows = [" ".join(f"{w.text}/{w.brown}" for w in writer.sentence()) for _ in range(270)]
        yield f"brown/{names[-1]}", ("\n\n" + "".join(f"\t{row}\n\n\n" for row in rows)).encode()
    yield "brown/cats.txt", _lines([f"{name} fiction" for name in names])
    yield "brown/CONTENTS", _lines(names)
    yield "brown/README", b"Made by code.\n"


def conll2000() -> Iterator[Part]:
    writer = Writer(34)
    for part, n in (("train", 8936), ("test", 2012)):
        rows = [
            "".join(f"{w.text} {w.penn} {w.chunk}\n" for w in writer.sentence()) for _ in range(n)
        ]
        yield f"{part}.txt", _lines(rows)
    yield "README", b"Made by code.\n"


def snli_dev_test() -> Iterator[Part]:
    writer = Writer(35)
    for part, n in (("dev", 9842), ("test", 9824)):
        rows = [writer.inference() for _ in range(n)]
        for i, kind in enumerate(("s1", "s2", "labels")):
            yield f"{kind}.{part}", _lines([row[i] for row in rows])


def snli() -> Iterator[Part]:
    """The official archive's form: objects of JSON, one a line; fewer in the training part."""
    writer, members = Writer(36), {}
    for part, n in (("train", 50_000), ("dev", 10_000), ("test", 10_000)):
        rows = []
        for i in range(n):
            premise, hypothesis, label = writer.inference()
            picture = f"{i // 3}.jpg#0"
            told = {"annotator_labels": [label], "captionID": picture, "gold_label": label}
            told |= {"pairID": f"{picture}r{i % 3}", "sentence1": premise, "sentence2": hypothesis}
            rows.append(json.dumps(told))
        members[f"snli_1.0/snli_1.0_{part}.jsonl"] = _lines(rows)
    yield "snli_1.0.zip", _zip(members)


def stsb() -> Iterator[Part]:
    """Pairs that share some of their words; the score is the share."""
    writer = Writer(37)
    for part, n in (("train", 5749), ("dev", 1500), ("test", 1379)):
        lines = []
        for _ in range(n):
            first, second = (writer.plain()[:-1].split() for _ in range(2))
            kept = int(6 * writer.u())
            second = [*first[:kept], *second[kept:]]
            score = 5 * len(set(first) & set(second)) / len({*first, *second})
            lines.append(f"{' '.join(first)}.,{' '.join(second)}.,{score:.2f}")
        yield f"stsb-en-{part}.csv", _lines(lines)


def ud_ewt() -> Iterator[Part]:
    writer = Writer(38)
    for part, n in (("dev", 2001), ("test", 2077)):
        blocks = []
        for i in range(n):
            words = writer.sentence()
            block = f"# sent_id = {part}-{i}\n# text = {' '.join(w.text for w in words)}\n"
            for j, w in enumerate(words, 1):
                tail = f"{w.head}\t{w.role}\t{w.head}:{w.role}\t_"
                block += f"{j}\t{w.text}\t{w.text.lower()}\t{w.pos}\t{w.penn}\t_\t{tail}\n"
            blocks.append(block)
        yield f"en_ewt-ud-{part}.conllu", _lines(blocks)
    yield "LICENSE.txt", b"Made by code.\n"


def wnut17() -> Iterator[Part]:
    writer = Writer(39)
    files = {"wnut17train.conll": 3394, "emerging.dev.conll": 1009, "emerging.test.annotated": 1287}
    for file, n in files.items():
        blocks = []
        for _ in range(n):
            block = ""
            for w in writer.sentence():
                kind = "person" if w.text in NAMES[:5] else "location"
                block += f"{w.text}\t{f'B-{kind}' if w.pos == 'PROPN' else 'O'}\n"
            blocks.append(block)
        yield file, _lines(blocks)


def wikitext_2() -> Iterator[Part]:
    writer = Writer(40)
    for part, n in (("valid", 213_886), ("test", 241_211)):
        lines, count = [], 0
        while count < n:
            lines += [" ", f" = {writer.pick(writer.nouns).capitalize()} = ", " "]
            for _ in range(8):
                sentences = [" ".join(w.text for w in writer.sentence()) for _ in range(6)]
                lines.append(f" {' '.join(sentences)} ")
                count += len(lines[-1].split())
        yield f"{part}.txt", _lines(lines)


def word_similarity() -> Iterator[Part]:
    writer = Writer(41)
    for file, n, name in (
        ("wordsim353.tsv", 353, "WordSimilarity-353"),
        ("simlex999.txt", 999, "SimLex-999"),
    ):
        lines = [f"# A stand-in of {name}", "# Word 1\tWord 2\tHuman (mean)"]
        for _ in range(n):
            alike, lists = writer.u() < 0.5, [x[0].split() for x in (NOUNS, ADJECTIVES, VERBS)]
            first = lists[int(3 * writer.u())]
            second = first if alike else lists[int(3 * writer.u())]
            score = (6 if second is first else 1) + 3 * writer.u()
            lines.append(f"{writer.even(first)}\t{writer.even(second)}\t{score:.2f}")
        yield file, _lines(lines)


def word_analogies() -> Iterator[Part]:
    """14 groups; in each a word and the same word with an ending."""
    counts = (506, 4524, 866, 2467, 506, 992, 812, 1332, 1122, 1056, 1599, 1560, 1332, 870)
    writer, lines = Writer(42), []
    for group, count in enumerate(counts):
        lines.append(f": {'gram' if group > 4 else 'group'}{group}")
        words = [w for x in (NOUNS, ADJECTIVES, VERBS) for w in x[0].split()]
        for _ in range(count):
            a, b = writer.even(words), writer.even(words)
            ending = "abcdefghijklmn"[group]
            lines.append(f"{a} {a}{ending} {b} {b}{ending}")
    yield "questions-words.txt", _lines(lines)


def gpt2_bpe() -> Iterator[Part]:
    """256 bytes, 50,000 merges of what was there before, a mark of the end: it does tokenize."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    small = [chr(c) for c in range(97, 123)]
    merges = [("\u0120", a) for a in small] + [(a, b) for a in small for b in small]
    merges += [(f"\u0120{a}", b) for a in small for b in small]
    merges += [(a + b, c) for a in small for b in small for c in small]
    merges += [(f"\u0120{a}{b}", c) for a in small for b in small for c in small]
    merges += [(a + b + c, d) for a in small for b in small for c in small for d in small]
    merges = merges[:50_000]
    ids = {token: i for i, token in enumerate([*letters, *map("".join, merges), "<|endoftext|>"])}
    yield "gpt2-encoder.json", json.dumps(ids).encode()
    yield "gpt2-vocab.bpe", _lines(["#version: 0.2", *map(" ".join, merges)])


def bert_vocab() -> Iterator[Part]:
    """30,522 lines: marks, letters, the words of the other stand-ins, pieces."""
    marks = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    marks += [f"[unused{i}]" for i in range(99, 994)]
    letters = [chr(c) for c in [*range(33, 65), *range(91, 127)]]
    known = [
        w.lower()
        for x in (NOUNS, ADJECTIVES, VERBS, PLACES, DETERMINERS)
        for w in " ".join(x).split()
    ]
    known += [name.lower() for name in NAMES] + GOOD + BAD + ASPECTS
    known += "was not and nobody film by to of in is it that".split() + _invented("")
    words = list(dict.fromkeys([*marks, *letters, *(w for w in known if w.isascii())]))
    small = [chr(c) for c in range(97, 123)]
    pieces = [f"##{a}" for a in [*small, *"0123456789"]] + [
        f"##{a}{b}" for a in small for b in small
    ]
    pieces += [f"##{a}{b}{c}" for a in small for b in small for c in small]
    pieces += [word for ending in ("s", "ed", "ing") for word in _invented(ending)]
    yield "bert-base-uncased-vocab.txt", _lines([*words, *pieces][:30_522])


# weights: of the right names and shapes, drawn at random


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int) -> Arrays:
    rng, arrays = np.random.default_rng(seed), Arrays()
    for name, shape in shapes.items():
        if not shape:  # how many batches were seen
            arrays[name] = np.zeros(shape, np.int64)
        elif len(shape) > 1:
            scale = np.float32(np.sqrt(6 / int(np.prod(shape[1:]))))
            arrays[name] = scale * (2 * rng.random(shape, dtype=np.float32) - 1)
        else:  # scales and variances are 1, shifts and means 0
            one = name.endswith(("running_var", "weight"))
            arrays[name] = np.full(shape, float(one), np.float32)
    return arrays


def efficientnet_lite0() -> Iterator[Part]:
    from .pretrained import EfficientNetLite0

    shapes = {name: tuple(t.shape) for name, t in EfficientNetLite0().state_dict().items()}
    yield "efficientnet-lite0.pth", _drawn(shapes, 50)


def minilm() -> Iterator[Part]:
    """The tensors of the ONNX file, by the names that they have in PyTorch."""
    shapes: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (n, 384)
        for name, n in (("word", 30_522), ("position", 512), ("token_type", 2))
    }
    shapes |= {f"embeddings.LayerNorm.{kind}": (384,) for kind in ("weight", "bias")}
    attention = [f"attention.{part}" for part in ("self.query", "self.key", "self.value")]
    for i in range(3):
        layers = {part: (384, 384) for part in [*attention, "attention.output.dense"]}
        layers |= {"intermediate.dense": (1536, 384), "output.dense": (384, 1536)}
        for part, shape in layers.items():
            shapes[f"encoder.layer.{i}.{part}.weight"] = shape
            shapes[f"encoder.layer.{i}.{part}.bias"] = shape[:1]
        for part in ("attention.output", "output"):
            shapes |= {
                f"encoder.layer.{i}.{part}.LayerNorm.{k}": (384,) for k in ("weight", "bias")
            }
    yield "paraphrase-MiniLM-L3-v2.onnx", _drawn(shapes, 51)


MAKERS = (
    time_machine, austen, tiny_shakespeare, fra_eng, multi30k, sunspots, co2, airfoil,
    movie_reviews, sentence_polarity, masc_tagged, brown, conll2000, snli_dev_test, snli, stsb,
    ud_ewt, wnut17, wikitext_2, word_similarity, word_analogies, gpt2_bpe, bert_vocab,
    efficientnet_lite0, minilm,
)  # fmt: skip
PARTS: dict[str, Callable[[], Iterator[Part]]] = {
    maker.__name__.replace("_", "-"): maker for maker in MAKERS
}
