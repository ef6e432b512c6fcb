"""Chapter 10, Modern recurrent neural networks: what its sections teach and later ones use.

Generated from book/10-modern-rnns/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import functools
import math
import re
import torch
from collections import Counter
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.recurrent_neural_networks import RNN
from d2l_helpers.chapters.recurrent_neural_networks import RNNScratch
from d2l_helpers.chapters.recurrent_neural_networks import Vocab
from d2l_helpers.chapters.recurrent_neural_networks import linear_scan
from torch import nn
from torch.nn import functional as F


# 10.1 Long short-term memory (LSTM)
class LSTMScratch(Module):
    """A layer of long short-term memory, from tensors.

    Weights are normal with standard deviation `sigma`; biases are zero,
    but that of the forget gate is `forget_bias`.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01,
                 forget_bias=0.0):
        super().__init__()
        self.save_hyperparameters()

        def triple():
            return (nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens)),
                    nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens)),
                    nn.Parameter(torch.zeros(num_hiddens)))

        self.W_xi, self.W_hi, self.b_i = triple()  # input gate
        self.W_xf, self.W_hf, self.b_f = triple()  # forget gate
        self.W_xo, self.W_ho, self.b_o = triple()  # output gate
        self.W_xc, self.W_hc, self.b_c = triple()  # input node
        nn.init.constant_(self.b_f, forget_bias)


# 10.1 Long short-term memory (LSTM)
@add_to_class(LSTMScratch)
def gates(self, X, H):
    """Input, forget and output gate and input node, each (n, h)."""
    I = torch.sigmoid(X @ self.W_xi + H @ self.W_hi + self.b_i)
    F = torch.sigmoid(X @ self.W_xf + H @ self.W_hf + self.b_f)
    O = torch.sigmoid(X @ self.W_xo + H @ self.W_ho + self.b_o)
    C_tilde = torch.tanh(X @ self.W_xc + H @ self.W_hc + self.b_c)
    return I, F, O, C_tilde


@add_to_class(LSTMScratch)
def step(self, X, H, C):
    """The next hidden state and internal state, both (n, h)."""
    I, F, O, C_tilde = self.gates(X, H)
    C = F * C + I * C_tilde
    return O * torch.tanh(C), C


# 10.1 Long short-term memory (LSTM)
@add_to_class(LSTMScratch)
def forward(self, inputs, H_C=None):
    """Outputs (T, n, h) and (H, C), each (n, h), for (T, n, d).

    Without `H_C` both states begin at zero.
    """
    if H_C is None:
        zeros = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
        H_C = zeros, zeros
    H, C = H_C
    outputs = []
    for X in inputs:
        H, C = self.step(X, H, C)
        outputs.append(H)
    return torch.stack(outputs), (H, C)


# 10.1 Long short-term memory (LSTM)
class LSTM(RNN):
    """`nn.LSTM` with one layer; the state is (H, C), each (1, n, h)."""

    def __init__(self, num_inputs, num_hiddens):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.LSTM(num_inputs, num_hiddens)


# 10.1 Long short-term memory (LSTM)
def recall_task(batch_size, T, num_symbols, generator=None, distract=False):
    """Remember the first of T + 1 symbols.

    Returns one-hot inputs (T + 1, batch_size, num_symbols + 1), of which
    the first is the symbol and the others are a blank, the last class, or,
    with `distract`, random symbols; and the symbols (batch_size,).
    """
    y = torch.randint(num_symbols, (batch_size,), generator=generator)
    X = torch.zeros(T + 1, batch_size, num_symbols + 1)
    X[0, torch.arange(batch_size), y] = 1
    if distract:
        rest = torch.randint(num_symbols, (T, batch_size),
                             generator=generator)
        X[1:] = F.one_hot(rest, num_symbols + 1)
    else:
        X[1:, :, -1] = 1
    return X, y


# 10.2 Gated recurrent units (GRU)
class GRUScratch(Module):
    """A layer of gated recurrent units, from tensors.

    The reset gate acts on the state before the matrix product, or, with
    `reset_after`, on the product, where the bias of the state's part is
    inside, as in `nn.GRU`. Weights are normal with standard deviation
    `sigma`, biases zero.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01,
                 reset_after=False):
        super().__init__()
        self.save_hyperparameters()

        def triple():
            return (nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens)),
                    nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens)),
                    nn.Parameter(torch.zeros(num_hiddens)))

        self.W_xr, self.W_hr, self.b_r = triple()  # reset gate
        self.W_xz, self.W_hz, self.b_z = triple()  # update gate
        self.W_xh, self.W_hh, self.b_h = triple()  # candidate
        if reset_after:
            self.b_hh = nn.Parameter(torch.zeros(num_hiddens))

    def gates(self, X, H):
        """Reset and update gate, both (n, h)."""
        R = torch.sigmoid(X @ self.W_xr + H @ self.W_hr + self.b_r)
        Z = torch.sigmoid(X @ self.W_xz + H @ self.W_hz + self.b_z)
        return R, Z


# 10.2 Gated recurrent units (GRU)
@add_to_class(GRUScratch)
def step(self, X, H):
    """The next state (n, h)."""
    R, Z = self.gates(X, H)
    if self.reset_after:
        recalled = R * (H @ self.W_hh + self.b_hh)
    else:
        recalled = (R * H) @ self.W_hh
    H_tilde = torch.tanh(X @ self.W_xh + recalled + self.b_h)
    return Z * H + (1 - Z) * H_tilde


@add_to_class(GRUScratch)
def forward(self, inputs, H=None):
    """Outputs (T, n, h) and the last state (n, h) for (T, n, d).

    Without `H` the first state is zero.
    """
    if H is None:
        H = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
    outputs = []
    for X in inputs:
        H = self.step(X, H)
        outputs.append(H)
    return torch.stack(outputs), H


# 10.2 Gated recurrent units (GRU)
class GRU(RNN):
    """`nn.GRU`; the state is (num_layers, n, h).

    `dropout` acts between the layers.
    """

    def __init__(self, num_inputs, num_hiddens, num_layers=1, dropout=0):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, num_layers,
                          dropout=dropout)


# 10.2 Gated recurrent units (GRU)
class MinGRU(Module):
    """The minimal GRU: gate and candidate see only the input.

    So the update is linear in the state, and `linear_scan` computes all
    steps at once; the state is (n, h).
    """

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.save_hyperparameters()
        self.gate = nn.Linear(num_inputs, num_hiddens)
        self.candidate = nn.Linear(num_inputs, num_hiddens)

    def forward(self, inputs, H=None):
        """Outputs (T, n, h) and the last state for inputs (T, n, d)."""
        Z = torch.sigmoid(self.gate(inputs))
        b = (1 - Z) * self.candidate(inputs)
        if H is not None:
            b = torch.cat((b[:1] + Z[:1] * H, b[1:]))
        outputs = linear_scan(Z, b)
        return outputs, outputs[-1]


# 10.3 Deep recurrent neural networks
class StackedRNNScratch(Module):
    """Layers of RNNScratch, each reading the outputs of the one below."""

    def __init__(self, num_inputs, num_hiddens, num_layers, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.rnns = nn.ModuleList(
            RNNScratch(num_hiddens if i else num_inputs, num_hiddens, sigma)
            for i in range(num_layers))

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, h) of the last layer and a list of last states.

        `Hs` is a list of one state (n, h) for each layer; it is not changed.
        """
        outputs, last = inputs, []
        for rnn, H in zip(self.rnns, Hs or [None] * self.num_layers,
                          strict=True):
            outputs, H = rnn(outputs, H)
            last.append(H)
        return outputs, last


# 10.4 Bidirectional recurrent neural networks
class BiRNNScratch(Module):
    """Two layers of RNNScratch, one of which reads from the end.

    Their outputs are put side by side, so `num_hiddens` is twice that of
    each.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.f_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.b_rnn = RNNScratch(num_inputs, num_hiddens, sigma)
        self.num_hiddens *= 2  # of the outputs

    def forward(self, inputs, Hs=None):
        """Outputs (T, n, 2h) and the two last states for (T, n, d)."""
        f_H, b_H = Hs or (None, None)
        f_outputs, f_H = self.f_rnn(inputs, f_H)
        b_outputs, b_H = self.b_rnn(inputs.flip(0), b_H)
        return torch.cat((f_outputs, b_outputs.flip(0)), dim=2), (f_H, b_H)


# 10.4 Bidirectional recurrent neural networks
class BiGRU(RNN):
    """`nn.GRU` in both directions; `num_hiddens` is twice that of each."""

    def __init__(self, num_inputs, num_hiddens):
        Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.GRU(num_inputs, num_hiddens, bidirectional=True)
        self.num_hiddens *= 2  # of the outputs


# 10.5 Machine translation and the dataset
def clean_pairs(text):
    """Lower case, plain spaces, and a space before each of , . ! ?"""
    text = re.sub("[\u202f\xa0]", " ", text).lower()
    return re.sub(r"(?<! )([,.!?])", r" \1", text)


# 10.5 Machine translation and the dataset
@functools.cache
def read_pairs(path):
    """The cleaned pairs of a file with a tab in each line, in its order.

    Returns a tuple of tuples (English, French). A file is read once; later
    calls return the same tuple.
    """
    lines = clean_pairs(path.read_text(encoding="utf-8")).splitlines()
    return tuple(tuple(line.split("\t")) for line in lines)


# 10.5 Machine translation and the dataset
def sentence_tokens(sentence):
    """The words of a cleaned sentence, and "<eos>"."""
    return [*sentence.split(), "<eos>"]


# 10.5 Machine translation and the dataset
class TranslationData(DataModule):
    """Sentences and their translations, as indices.

    A batch is (source, decoder input, valid lengths of the sources,
    labels); source, input and labels are (n, num_steps), and the labels are
    the inputs one token later. Sentences end with "<eos>" and are cut or
    filled with "<pad>" to `num_steps` tokens; the input begins with
    "<bos>". Words that occur less than twice in the training part after
    cutting (with `vocab_from="all"`, in all pairs) become "<unk>".

    A subclass defines `choose()`: cleaned pairs of sentences, `num_train`
    for training and then `num_val` for validation.
    """

    def __init__(self, batch_size, num_steps, num_train, num_val,
                 vocab_from):
        super().__init__()
        self.save_hyperparameters()
        self.pairs = [tuple(map(sentence_tokens, pair))
                      for pair in self.choose()]
        known = {"train": self.pairs[:num_train],
                 "all": self.pairs}.get(vocab_from)
        if known is None:
            raise ValueError(f'vocab_from is {vocab_from!r}; use "train" '
                             'or "all".')
        src, tgt = ([tokens[:num_steps] for tokens in side]
                    for side in zip(*known))
        self.src_vocab = Vocab(src, 2, ("<pad>", "<eos>"))
        self.tgt_vocab = Vocab(tgt, 2, ("<pad>", "<bos>", "<eos>"))
        self.arrays = self.to_arrays(self.pairs)


# 10.5 Machine translation and the dataset
@add_to_class(TranslationData)
def to_arrays(self, pairs):
    """The four tensors of a batch, for pairs of token lists."""
    def array(lists, vocab):
        pad = ["<pad>"] * self.num_steps
        return torch.tensor(
            [vocab[(tokens + pad)[:self.num_steps]] for tokens in lists])

    src = array([src for src, _ in pairs], self.src_vocab)
    label = array([tgt for _, tgt in pairs], self.tgt_vocab)
    bos = torch.full_like(label[:, :1], self.tgt_vocab["<bos>"])
    tgt = torch.cat((bos, label[:, :-1]), dim=1)
    valid_len = (src != self.src_vocab["<pad>"]).sum(dim=1)
    return src, tgt, valid_len, label


@add_to_class(TranslationData)
def build(self, src_sentences, tgt_sentences):
    """The four tensors for new sentences, two lists of strings."""
    both = zip(src_sentences, tgt_sentences, strict=True)
    return self.to_arrays([
        tuple(sentence_tokens(clean_pairs(text)) for text in pair)
        for pair in both])


@add_to_class(TranslationData)
def get_dataloader(self, train):
    """Batches of the training part, shuffled, or of the rest in order."""
    rows = slice(0, self.num_train) if train else slice(
        self.num_train, None)
    return self.get_tensorloader(self.arrays, train, rows)


# 10.5 Machine translation and the dataset
def first_pairs(pairs, n):
    """The first n of `pairs` as a list; a ValueError if there are fewer."""
    if n > len(pairs):
        raise ValueError(f"{n} pairs wanted, but there are {len(pairs)}; "
                         "ask for fewer.")
    return list(pairs[:n])


class MTFraEng(TranslationData):
    """English sentences and their French translations.

    Without `subset` the first num_train + num_val lines of the file are
    taken. `subset="pronoun"` takes the sentences that begin with a pronoun
    and a form of "to be", at most `num_steps` - 1 tokens on both sides, each
    English sentence once, in an order drawn with a fixed seed. `source` is
    "real", or "standin" without the corpus.
    """

    def __init__(self, batch_size, num_steps=9, num_train=512, num_val=128,
                 subset=None, vocab_from="train"):
        self.subset = subset  # `choose` needs it
        super().__init__(batch_size, num_steps, num_train, num_val,
                         vocab_from)

    def choose(self):
        """The pairs of training, then those of validation."""
        corpus = d2l.fetch("fra-eng")
        self.source, (self.path,) = corpus.source, corpus.files.values()
        pairs = read_pairs(self.path)
        if self.subset == "pronoun":
            pairs = self.pronoun_pairs(pairs)
        elif self.subset is not None:
            raise ValueError(f'subset is {self.subset!r}; use "pronoun" '
                             "or None.")
        return first_pairs(pairs, self.num_train + self.num_val)


# 10.5 Machine translation and the dataset
@functools.cache
def french_versions(path):
    """English sentence -> dict of its French versions, from a file."""
    versions = {}
    for src, tgt in read_pairs(path):
        src, tgt = (" ".join(side.split()) for side in (src, tgt))
        versions.setdefault(src, {})[tgt] = None
    return versions


@add_to_class(MTFraEng)
def references(self, source):
    """All French versions of an English sentence, of the whole file.

    Cleaned strings with spaces between the tokens, each once, in the order
    of the file; an empty list if the file lacks the sentence.
    """
    sentence = " ".join(clean_pairs(source).split())
    return list(french_versions(self.path).get(sentence, {}))


# 10.5 Machine translation and the dataset
PRONOUN_STARTS = tuple(
    f"{start} " for start in (
        "i'm", "i am", "he's", "he is", "she's", "she is", "you're",
        "you are", "we're", "we are", "they're", "they are"))


@add_to_class(MTFraEng)
def pronoun_pairs(self, pairs):
    """The pairs of the subset, each English sentence once, shuffled."""
    once = {}
    for src, tgt in pairs:
        if (src.startswith(PRONOUN_STARTS) and max(
                len(src.split()), len(tgt.split())) < self.num_steps):
            once.setdefault(src, (src, tgt))
    kept = list(once.values())
    order = torch.randperm(len(kept),
                           generator=torch.Generator().manual_seed(0))
    return [kept[i] for i in order]


# 10.5 Machine translation and the dataset
class MTMulti30k(TranslationData):
    """Captions of photographs in two of the languages "en", "de", "fr".

    The first `num_train` lines of the training files, then the first
    `num_val` of the validation files. `source` is "real" or "standin".
    """

    def __init__(self, batch_size, num_steps=20, num_train=29_000,
                 num_val=1014, src_lang="en", tgt_lang="fr",
                 vocab_from="train"):
        self.src_lang, self.tgt_lang = src_lang, tgt_lang
        super().__init__(batch_size, num_steps, num_train, num_val,
                         vocab_from)

    def choose(self):
        """The pairs of training, then those of validation."""
        corpus, chosen = d2l.fetch("multi30k"), []
        self.source = corpus.source
        for part, n in (("train", self.num_train), ("val", self.num_val)):
            sides = [clean_pairs(corpus.files[f"{part}.{lang}"].read_text(
                encoding="utf-8")).splitlines()
                for lang in (self.src_lang, self.tgt_lang)]
            chosen += first_pairs(list(zip(*sides, strict=True)), n)
        return chosen


# 10.6 The encoder-decoder architecture
class Encoder(nn.Module):
    """Turns a sequence into something that a decoder can begin with."""

    def forward(self, X, *args):
        raise NotImplementedError("define forward(X, *args)")


# 10.6 The encoder-decoder architecture
class Decoder(nn.Module):
    """Turns what an encoder found into a sequence, token by token."""

    def init_state(self, enc_all_outputs, *args):
        """The first state, made of what the encoder returned."""
        raise NotImplementedError("define init_state(enc_all_outputs, *args)")

    def forward(self, X, state):
        """Scores (n, T', q) and the state after the tokens X (n, T')."""
        raise NotImplementedError("define forward(X, state)")


# 10.6 The encoder-decoder architecture
class EncoderDecoder(Classifier):
    """An encoder, and a decoder that begins with what it returns."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, enc_X, dec_X, *args):
        """Scores (n, T', q); `args` reach the encoder and `init_state`."""
        enc_all_outputs = self.encoder(enc_X, *args)
        dec_state = self.decoder.init_state(enc_all_outputs, *args)
        return self.decoder(dec_X, dec_state)[0]


# 10.7 Sequence-to-sequence learning for machine translation
def init_seq2seq(module):
    """Xavier weights for linear layers and for all matrices of a GRU."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.GRU):
        for name, param in module.named_parameters():
            if "weight" in name:
                nn.init.xavier_uniform_(param)


# 10.7 Sequence-to-sequence learning for machine translation
class Seq2SeqEncoder(Encoder):
    """An embedding and a GRU; returns outputs (T, n, h) and its state.

    With valid lengths (n,) the padding is never read: outputs there are
    zero, and the state (layers, n, h) is that after the last valid token.
    """

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers,
                 dropout=0):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = GRU(embed_size, num_hiddens, num_layers, dropout)
        self.apply(init_seq2seq)

    def forward(self, X, valid_len=None):
        embs = self.embedding(X.T)  # (T, n, embed_size)
        if valid_len is None:
            return self.rnn(embs)
        packed = nn.utils.rnn.pack_padded_sequence(
            embs, valid_len.cpu(), enforce_sorted=False)
        outputs, state = self.rnn(packed)
        outputs, _ = nn.utils.rnn.pad_packed_sequence(
            outputs, total_length=len(embs))
        return outputs, state


# 10.7 Sequence-to-sequence learning for machine translation
class Seq2SeqDecoder(Decoder):
    """A GRU that reads the context beside each token."""

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers,
                 dropout=0):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_size)
        self.rnn = GRU(embed_size + num_hiddens, num_hiddens, num_layers,
                       dropout)
        self.dense = nn.Linear(num_hiddens, vocab_size)
        self.apply(init_seq2seq)

    def init_state(self, enc_all_outputs, *args):
        """The context (n, h) and the GRU's first state (layers, n, h)."""
        _, hidden = enc_all_outputs
        return hidden[-1], hidden

    def forward(self, X, state):
        """Scores (n, T, vocab_size) and the new state for tokens (n, T)."""
        context, hidden = state
        embs = self.embedding(X.T)  # (T, n, embed_size)
        every = context.expand(len(embs), -1, -1)  # (T, n, h)
        outputs, hidden = self.rnn(torch.cat((embs, every), dim=-1), hidden)
        return self.dense(outputs).transpose(0, 1), (context, hidden)


# 10.7 Sequence-to-sequence learning for machine translation
class Seq2Seq(EncoderDecoder):
    """Encoder and decoder, trained by Adam on the tokens of the target.

    Labels equal to `tgt_pad` do not count.
    """

    def __init__(self, encoder, decoder, tgt_pad, lr):
        super().__init__(encoder, decoder)
        self.save_hyperparameters(ignore=["encoder", "decoder"])

    def loss(self, Y_hat, Y):
        """Mean cross-entropy over the labels that are not padding."""
        losses = F.cross_entropy(Y_hat.flatten(0, 1), Y.flatten(),
                                 reduction="none")
        mask = (Y.flatten() != self.tgt_pad).float()
        return (losses * mask).sum() / mask.sum()

    def validation_step(self, batch):
        self.plot("loss", self.loss(self(*batch[:-1]), batch[-1]),
                  train=False)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


# 10.7 Sequence-to-sequence learning for machine translation
@add_to_class(Seq2Seq)
def predict_step(self, batch, num_steps):
    """Greedy translations (n, num_steps) of a batch, in eval mode.

    `batch` is (source, decoder input, valid lengths, ...); of the decoder
    input only the first column, "<bos>", is read. What follows an "<eos>"
    means nothing.
    """
    was_training = self.training
    self.eval()
    src, tgt, valid_len = batch[:3]
    with torch.no_grad():
        state = self.decoder.init_state(self.encoder(src, valid_len),
                                        valid_len)
        outputs = [tgt[:, :1]]
        for _ in range(num_steps):
            Y, state = self.decoder(outputs[-1], state)
            outputs.append(Y.argmax(dim=2))
    self.train(was_training)
    return torch.cat(outputs[1:], dim=1)


# 10.7 Sequence-to-sequence learning for machine translation
def translate(model, data, sentences):
    """Greedy translations of English sentences, strings of tokens.

    A translation ends before "<eos>", or after `data.num_steps` tokens.
    """
    if isinstance(sentences, str):
        raise TypeError("sentences is one string; pass a list of strings.")
    if not sentences:
        return []
    device = next(model.parameters()).device
    batch = d2l.to_device(data.build(sentences, [""] * len(sentences)),
                          device)
    rows = model.predict_step(batch, data.num_steps)
    return to_sentences(rows, data.tgt_vocab)


def to_sentences(rows, vocab):
    """Indices (n, T) as strings of tokens, each up to its first "<eos>"."""
    texts = []
    for tokens in vocab.to_tokens(rows):
        end = tokens.index("<eos>") if "<eos>" in tokens else len(tokens)
        texts.append(" ".join(tokens[:end]))
    return texts


# 10.7 Sequence-to-sequence learning for machine translation
def bleu(pred, label, k):
    """BLEU of one sentence: n-grams up to k, weights 1/2, 1/4, ...

    `pred` and `label` are strings of tokens with spaces between them. The
    score is 0 if some order up to k has no match, or no n-grams at all.
    """
    pred, label = pred.split(), label.split()
    if not pred:
        return 0.0
    log_score = min(0, 1 - len(label) / len(pred))
    for n in range(1, k + 1):
        matches, total = matched_ngrams(pred, [label], n)
        if matches == 0:
            return 0.0
        log_score += 0.5**n * math.log(matches / total)
    return math.exp(log_score)


def matched_ngrams(pred, refs, n):
    """Clipped matches with any reference, and the n-grams of `pred`."""
    def grams(tokens):
        return Counter(zip(*(tokens[i:] for i in range(n))))

    most = Counter()
    for ref in refs:
        most |= grams(ref)
    mine = grams(pred)
    return (mine & most).total(), mine.total()


# 10.7 Sequence-to-sequence learning for machine translation
def corpus_bleu(preds, refs, max_n=4):
    """BLEU of Papineni and others, between 0 and 1.

    `preds` are strings of tokens; `refs` are lists of such strings, the
    references of each. Matches are counted over the whole corpus.
    """
    matches, totals = [0] * max_n, [0] * max_n
    length = closest = 0
    for pred, wanted in zip(preds, refs, strict=True):
        pred = pred.split()
        wanted = [ref.split() for ref in wanted]
        length += len(pred)
        closest += min((abs(len(ref) - len(pred)), len(ref))
                       for ref in wanted)[1]
        for n in range(max_n):
            found, total = matched_ngrams(pred, wanted, n + 1)
            matches[n] += found
            totals[n] += total
    if min(matches) == 0:
        return 0.0
    score = sum(math.log(m / t) for m, t in zip(matches, totals)) / max_n
    return math.exp(score + min(0, 1 - closest / length))


# 10.7 Sequence-to-sequence learning for machine translation
def nearest_neighbor_baseline(data, sentences):
    """For each English sentence the French of the most similar one.

    That is the training sentence with the largest Jaccard overlap of words,
    the first of several. Strings of tokens, like those of `translate`.
    """
    memory = [(set(src[:-1]), " ".join(tgt[:-1]))
              for src, tgt in data.pairs[:data.num_train]]
    found = []
    for sentence in sentences:
        words, best, answer = set(clean_pairs(sentence).split()), -1, None
        for other, french in memory:
            common = len(words & other)
            overlap = common / (len(words) + len(other) - common)
            if overlap > best:
                best, answer = overlap, french
        found.append(answer)
    return found


# 10.8 Beam search
def keep_rows(state, parents):
    """Rows `parents` of a tensor, or of each tensor in a tuple or list."""
    if isinstance(state, torch.Tensor):
        return state[parents.to(state.device)]
    if isinstance(state, (tuple, list)):
        return type(state)(keep_rows(part, parents) for part in state)
    return state


# 10.8 Beam search
def beam_search(step, state, bos, eos, beam_size, max_len, alpha=0.75,
                reorder=None):
    """Sequences of high probability, best first: a list (tokens, score).

    `step(tokens, state)` takes the last tokens (b,) of b prefixes and a
    state and returns log-probabilities (b, vocab_size) and the next state;
    `reorder(state, parents)` keeps the rows `parents` (b,) of a state, by
    default of a tensor's first dimension, or of each in a tuple. A
    candidate ends with `eos` or has `max_len` tokens; its score is the sum
    of its log-probabilities over its length to the power `alpha`. `tokens`
    is a list without `bos`.
    """
    reorder = reorder or keep_rows
    tokens, total = torch.tensor([bos]), torch.zeros(1)
    prefixes, done = [[]], []
    while prefixes:
        log_probs, state = step(tokens, state)
        scores = total[:, None] + log_probs.cpu()  # (b, vocab_size)
        total, index = scores.flatten().topk(min(beam_size, scores.numel()))
        parents, tokens = index // scores.shape[1], index % scores.shape[1]
        longer = [prefixes[parent] + [token] for parent, token
                  in zip(parents.tolist(), tokens.tolist())]
        rows = []  # of those that go on
        for i, (prefix, score) in enumerate(zip(longer, total.tolist())):
            if score == -math.inf:
                continue
            if prefix[-1] == eos or len(prefix) == max_len:
                done.append((prefix, score / len(prefix)**alpha))
            else:
                rows.append(i)
        prefixes = [longer[i] for i in rows]
        total, tokens = total[rows], tokens[rows]
        state = reorder(state, parents[rows])
    return sorted(done, key=lambda pair: -pair[1])
