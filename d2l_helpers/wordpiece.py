"""The tokenizer of the pretrained encoder; Section 15.6 teaches how it works and is learned."""

import unicodedata
from collections.abc import Sequence


class WordPiece:
    """The uncased tokenizer of BERT: words, and the longest pieces of those it does not know.

    Examples
    --------
    >>> pieces = WordPiece(["[UNK]", "[CLS]", "[SEP]", "un", "##seen", "!", "cafe"])
    >>> [pieces.vocab[i] for i in pieces("Unseen CAFÉ!")]
    ['[CLS]', 'un', '##seen', 'cafe', '!', '[SEP]']
    """

    def __init__(self, vocab: Sequence[str]):
        self.vocab, self.ids = vocab, {piece: i for i, piece in enumerate(vocab)}

    def __call__(self, text: str, limit: int = 512) -> list[int]:
        plain = ""
        for letter in unicodedata.normalize("NFD", text.lower()):
            kind = unicodedata.category(letter)
            alone = kind[0] == "P" or letter in "$+<=>^`|~" or "\u4e00" <= letter <= "\u9fff"
            if letter.isspace() or kind not in ("Mn", "Cc", "Cf"):  # no accents, no controls
                plain += f" {letter} " if alone else letter
        ids = [i for word in plain.split() for i in self._pieces(word)]
        return [self.ids["[CLS]"], *ids[: limit - 2], self.ids["[SEP]"]]

    def _pieces(self, word: str) -> list[int]:
        found, start = [], 0
        while start < len(word):
            mark, ends = "##" if start else "", range(len(word), start, -1)
            end = next((e for e in ends if mark + word[start:e] in self.ids), None)
            if end is None or len(word) > 100:
                return [self.ids["[UNK]"]]
            found.append(self.ids[mark + word[start:end]])
            start = end
        return found
