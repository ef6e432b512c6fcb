# ---
# jupyter:
#   d2l:
#     data: [wikitext-2, bert-vocab]
#     profiles:
#       gpu: {}
#       smoke: {}
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,d2l,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 15.9 The dataset for pretraining BERT
#
# TODO: the question, in two or three sentences.
#
# **You will**
#
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
# - TODO: something that a reader can do then;
#
# **Cost**: TODO: time and memory on a CPU, downloads, use of a GPU.

# %%
from dataclasses import replace
from typing import NamedTuple

import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    DataModule, add_to_class)
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.texts import ToyWorld, paragraphs
from d2l_helpers.wordpiece import WordPiece

d2l.use_style()

# %% tags=["parameters"]
seed = 0  # TODO: what a profile may set

# %% [markdown]
# ## TODO: heading
#
# TODO: the text, with its code, figures and checks.

# %% tags=["export"]
class BERTVocab:
    """Tokens with indices, and which of them are special.

    `vocab` is a `Vocab` that holds "<pad>", "<cls>", "<sep>", "<mask>" and
    "<unk>", or a `WordPiece`, where these are "[PAD]" and so on. Their
    indices are the attributes `pad`, `cls`, `sep`, `mask` and `unk`.
    `ordinary` (n,) are the indices of all tokens that are neither special
    nor "[unused...]", and `is_ordinary` (len(self),) says the same as
    booleans. Raises ValueError if a special token is missing.
    """

    def __init__(self, vocab):
        pieces = isinstance(vocab, WordPiece)
        self.vocab = vocab
        self.tokens = list(vocab.vocab if pieces else vocab.idx_to_token)
        ids = {token: i for i, token in enumerate(self.tokens)}
        self.is_ordinary = torch.tensor(
            [not token.startswith("[unused") for token in self.tokens])
        for name in ("pad", "cls", "sep", "mask", "unk"):
            token = f"[{name.upper()}]" if pieces else f"<{name}>"
            if token not in ids:
                raise ValueError(f"the vocabulary has no {token!r}; add it "
                                 "to its special (reserved) tokens.")
            setattr(self, name, ids[token])
            self.is_ordinary[ids[token]] = False
        self.ordinary = self.is_ordinary.nonzero().flatten()
        self.known = {}  # word: its indices

    def __len__(self):
        return len(self.tokens)

    def to_tokens(self, ids):
        """The tokens of indices (n,), a list of strings."""
        return [self.tokens[i] for i in torch.as_tensor(ids).tolist()]

# %% tags=["export"]
@add_to_class(BERTVocab)
def encode(self, sentence):
    """The indices of a sentence: a list of words, or a string with blanks.

    A word may become several pieces; "<unk>" stays the unknown token. No
    special tokens are added.
    """
    words = sentence.split() if isinstance(sentence, str) else sentence
    for word in words:
        if word not in self.known:
            unknown = word == "<unk>"
            self.known[word] = (
                [self.unk] if unknown else [self.vocab[word]]
                if isinstance(self.vocab, Vocab)
                else self.vocab(word)[1:-1])  # without [CLS], [SEP]
    return [i for word in words for i in self.known[word]]


class BERTText(NamedTuple):
    """Texts for pretraining: paragraphs, lists of sentences (lists of ids).

    `train` and `val` are lists of paragraphs, `vocab` is a `BERTVocab`.
    Without next sentence prediction a paragraph may hold one sentence.
    """

    train: list
    val: list
    vocab: BERTVocab

# %% tags=["export"]
def encode_text(train, val, vocab):
    """A `BERTText` of paragraphs whose sentences are words or strings.

    `vocab` is a `BERTVocab`; sentences that are empty after encoding are
    left out, and so are paragraphs without a sentence.
    """
    def encoded(paragraphs):
        found = [[ids for s in p if (ids := vocab.encode(s))]
                 for p in paragraphs]
        return [p for p in found if p]

    return BERTText(encoded(train), encoded(val), vocab)


def word_text(train, val, min_freq=0, words=()):
    """A `BERTText` whose tokens are whole words.

    `train` and `val` are paragraphs: lists of sentences, which are lists
    of words. The vocabulary holds the five special tokens, `words`, and
    what occurs at least `min_freq` times in `train`; `val` adds nothing.
    """
    sentences = [s for p in train for s in p] or [[]]
    vocab = Vocab(sentences, min_freq, [
        "<pad>", "<cls>", "<sep>", "<mask>", *words])
    return encode_text(train, val, BERTVocab(vocab))


def toy_text(num_train, num_val, sentences=3, seed=0):
    """A `BERTText` of `ToyWorld`, with its 44 types.

    `num_train` and `num_val` are numbers of paragraphs, each of so many
    `sentences`.
    """
    world = ToyWorld(seed)
    parts = [[world.paragraph(sentences) for _ in range(n)]
             for n in (num_train, num_val)]
    return word_text(*parts, words=ToyWorld.words)


def wiki_text(wiki, vocab, min_words=4):
    """A `BERTText` of WikiText-2: `valid.txt` to train on, `test.txt`.

    `wiki` is `fetch("wikitext-2")`, `vocab` a `BERTVocab`. Sentences with
    fewer than `min_words` words are left out, and so are paragraphs with
    fewer than two sentences.
    """
    parts = []
    for name in ("valid.txt", "test.txt"):
        part = replace(wiki, files={name: wiki.files[name]})
        long = [[s for s in p if len(s.split()) >= min_words]
                for p in paragraphs(part)]
        parts.append([p for p in long if len(p) > 1])
    return encode_text(*parts, vocab)

# %% tags=["export"]
def next_sentence_pairs(paragraphs, rng, negatives="elsewhere"):
    """A list of (a, b, is_next), one for each two adjacent sentences.

    `paragraphs` are lists of sentences, which are lists of tokens or of
    indices; `rng` is a `torch.Generator`. With probability 1/2 (a, b) are
    the two sentences and `is_next` is 1; otherwise it is 0, and b is a
    random sentence of another paragraph ("elsewhere") or of the same one
    ("paragraph"), or the two are swapped ("order"). The b of a negative
    never reads like the true next sentence. Where no negative exists
    within the paragraph, or swapping changes nothing, the pair is left out.

    Raises ValueError for other `negatives`, and if another paragraph has
    no sentence to offer. Sources: Devlin et al. (2018), arXiv:1810.04805;
    "order": Lan et al. (2019), arXiv:1909.11942.
    """
    if negatives not in ("elsewhere", "paragraph", "order"):
        raise ValueError(f"negatives is {negatives!r}; use 'elsewhere', "
                         "'paragraph' or 'order'.")
    sentences = [s for p in paragraphs for s in p]
    seen = {}  # equal texts get equal numbers
    text = torch.tensor([seen.setdefault(tuple(s), len(seen))
                         for s in sentences], dtype=torch.int64)
    sizes = torch.tensor([len(p) for p in paragraphs], dtype=torch.int64)
    owner = torch.arange(len(sizes)).repeat_interleave(sizes)
    i = (owner[1:] == owner[:-1]).nonzero().flatten()  # (n,) first sentences
    if negatives == "order":
        i = i[text[i] != text[i + 1]]
        j = i
    else:
        i, j = draw_sentences(i, owner, text, rng, negatives)
    is_next = torch.rand(len(i), generator=rng) < 0.5
    first = i if negatives != "order" else torch.where(is_next, i, i + 1)
    second = torch.where(is_next, i + 1, j)
    return [(sentences[a], sentences[b], label) for a, b, label in zip(
        first.tolist(), second.tolist(), is_next.long().tolist())]

# %% tags=["export"]
def draw_sentences(i, owner, text, rng, negatives):
    """Sentences i (n,) that have a negative, and one of them for each.

    `owner` and `text` say for each sentence its paragraph and its wording.
    Draws again whatever is forbidden; used by `next_sentence_pairs`.
    """
    n, inside = len(text), negatives == "paragraph"
    sizes = torch.bincount(owner)
    starts = sizes.cumsum(0) - sizes
    if inside:  # a third wording in the paragraph?
        wordings = {}
        for o, t in zip(owner.tolist(), text.tolist()):
            wordings.setdefault(o, set()).add(t)
        i = i[torch.tensor([len(wordings[o] - {t, u}) > 0 for o, t, u in zip(
            owner[i].tolist(), text[i].tolist(), text[i + 1].tolist())],
            dtype=torch.bool)]
    j, todo = torch.empty_like(i), torch.arange(len(i))
    for _ in range(1000):
        if len(todo) == 0:
            return i, j
        a, u = i[todo], torch.rand(len(todo), generator=rng).double()
        b = ((starts[owner[a]] + (u * sizes[owner[a]]).long()) if inside
             else (u * n).long())
        j[todo] = b
        wrong = (text[b] == text[a + 1]) | (
            text[b] == text[a] if inside else owner[b] == owner[a])
        todo = todo[wrong]
    raise ValueError(f"{len(todo)} sentences found no negative in 1000 "
                     "draws; more paragraphs are needed.")

# %% tags=["export"]
def truncate_pair(a, b, n):
    """Beginnings of a and b, lists, with at most n tokens together.

    The longer one is cut first; b may be None. Raises ValueError if n is
    too small to leave a token of each.
    """
    if n < (1 if b is None else 2):
        raise ValueError(f"{n} tokens are left for the text; raise max_len.")
    if b is None:
        return a[:n], None
    keep = max(n - len(b), n - n // 2)
    return a[:keep], b[:n - min(len(a), keep)]


def pad_bert(examples, max_len, vocab):
    """Examples (a, b, is_next) as tensors; b is None for a single text.

    `a` and `b` are lists of indices of `vocab`, a `BERTVocab`; they are cut
    by `truncate_pair` where they and the special tokens exceed `max_len`.

    Returns int64 tensors: tokens (n, max_len), <cls> a <sep> b <sep> and
    padding; segments (n, max_len), 1 for b and its <sep>, else 0;
    valid_lens (n,); nsp_labels (n,), which are -100 without b. Raises
    ValueError for an empty text.
    """
    flat, first, lens = [], [], []
    for a, b, _ in examples:
        if not len(a) or (b is not None and not len(b)):
            raise ValueError("a text has no token; leave it out.")
        a, b = truncate_pair(a, b, max_len - (2 if b is None else 3))
        row = [vocab.cls, *a, vocab.sep]
        first.append(len(row))
        row += [] if b is None else [*b, vocab.sep]
        lens.append(len(row))
        flat += row
    first, lens = torch.tensor(first), torch.tensor(lens)
    places = torch.arange(max_len)
    inside = places < lens[:, None]  # (n, max_len)
    tokens = torch.full(inside.shape, vocab.pad)
    tokens[inside] = torch.tensor(flat)
    segments = (inside & (places >= first[:, None])).long()
    labels = [-100 if b is None else int(label) for _, b, label in examples]
    return tokens, segments, lens, torch.tensor(labels)

# %% tags=["export"]
def mask_positions(tokens, vocab, rng, rate=0.15):
    """Corrupt texts for masked language modelling, all rows at once.

    Of a row with n tokens that are not padding, max(1, round(rate * n)) are
    chosen, all of them ordinary (fewer if there are not so many); of these
    80 % become `vocab.mask`, 10 % a random ordinary token, 10 % stay.

    `tokens` (n, L) are indices of `vocab`, a `BERTVocab`, padded, and `rng`
    is a `torch.Generator`. Returns inputs (n, L), positions (n, m) and
    labels (n, m), int64, with m = max(1, round(rate * L)). Where a row has
    fewer predictions, the rest has position 0 and label -100. One text (L,)
    gives (L,), (m,), (m,). Raises ValueError unless 0 < rate <= 1. Source:
    Devlin et al. (2018), arXiv:1810.04805.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate is {rate}; it must lie in (0, 1].")
    if tokens.ndim == 1:
        return tuple(part[0] for part in mask_positions(
            tokens[None], vocab, rng, rate))
    allowed = vocab.is_ordinary[tokens]  # (n, L)
    lens = (tokens != vocab.pad).sum(dim=1)
    wanted = (rate * lens.double()).round().long().clamp(min=1)
    wanted = torch.minimum(wanted, allowed.sum(dim=1))  # (n,)
    m = max(1, round(rate * tokens.shape[1]))
    keys = torch.rand(tokens.shape, generator=rng).masked_fill(~allowed, -1)
    positions = keys.topk(m, dim=1).indices  # (n, m), all different
    chosen = torch.arange(m) < wanted[:, None]
    old = tokens.gather(1, positions)
    fate = torch.rand(old.shape, generator=rng)
    noise = vocab.ordinary[torch.randint(
        len(vocab.ordinary), old.shape, generator=rng)]
    new = torch.where(fate < 0.8, vocab.mask,
                      torch.where(fate < 0.9, noise, old))
    inputs = tokens.scatter(1, positions, torch.where(chosen, new, old))
    return (inputs, positions.masked_fill(~chosen, 0),
            old.masked_fill(~chosen, -100))

# %% tags=["export"]
class BERTData(DataModule):
    """Batches for pretraining BERT from a `BERTText`.

    A batch is (tokens, segments (b, max_len), valid_lens (b,), positions,
    weights, labels (b, m), nsp_labels (b,)); weights are float32, 1 for a
    prediction and 0 for its padding, where the label is -100; the rest is
    int64. Tensors lie on the CPU.

    With `nsp`, examples are pairs of sentences, whose negatives are of the
    kind `negatives` of `next_sentence_pairs`; without, each sentence is an
    example by itself, with segment 0 and NSP label -100. `dynamic` masks
    are drawn anew whenever a training batch is served, others once, by the
    constructor; those of validation are always the latter. The pairs stay
    the same.
    """

    def __init__(self, batch_size, max_len, source, dynamic=True, nsp=True,
                 rate=0.15, negatives="elsewhere", seed=0):
        super().__init__()
        self.save_hyperparameters()
        self.vocab = source.vocab
        self.generator = torch.Generator().manual_seed(seed)
        self.train = self.prepare(source.train, not dynamic)
        self.val = self.prepare(source.val, True) if source.val else None

    def prepare(self, part, masked):
        """The tensors of `pad_bert`, or the batch of them all, masked."""
        pairs = (next_sentence_pairs(part, self.generator, self.negatives)
                 if self.nsp else [(s, None, 0) for p in part for s in p])
        if not pairs:
            raise ValueError("the text gives no example; pairs need "
                             "paragraphs of two sentences and more.")
        tensors = pad_bert(pairs, self.max_len, self.vocab)
        return self.mask(*tensors) if masked else tensors

    def mask(self, tokens, segments, valid_lens, nsp_labels):
        """A batch with fresh masks."""
        inputs, positions, labels = mask_positions(
            tokens, self.vocab, self.generator, self.rate)
        weights = (labels != -100).float()
        return (inputs, segments, valid_lens, positions, weights, labels,
                nsp_labels)

    def get_dataloader(self, train):
        """Shuffled batches for training, or those of validation in order.

        None if the source has no validation part.
        """
        if not train:
            return self.val and d2l.BatchLoader(self.val, self.batch_size)
        return d2l.BatchLoader(
            self.train, self.batch_size, shuffle=True,
            generator=self.generator,
            transform=self.mask if self.dynamic else None)

# %%
# check 15.9-C1: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C2: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C3: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C4: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C5: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C6: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C7: TODO: what it says
assert True  # TODO: what must hold

# %%
# check 15.9-C8: TODO: what it says
assert True  # TODO: what must hold

# %% [markdown]
# ## Summary
#
# TODO: what to remember.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 15.9-1
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.9-1

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.9-2
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.9-2

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.9-3
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.9-3

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ### Exercise 15.9-4
#
# TODO: the task.

# %% [markdown]
# #### Solution 15.9-4

# %% [markdown]
# TODO: the answer.

# %%
assert True  # TODO: what makes sure of it

# %% [markdown]
# ## Sources
#
# - TODO: authors (year). Title. Link: what for.
