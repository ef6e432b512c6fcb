# ---
# jupyter:
#   d2l:
#     data: [fra-eng]
#     profiles:
#       gpu:
#         num_gpus: 1
#       smoke:
#         max_epochs: 1
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
# # 10.7 Sequence-to-sequence learning for machine translation

# %%
import math
from collections import Counter

import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.modern_rnns import (
    Decoder, Encoder, EncoderDecoder, GRU, MTFraEng)

# %% tags=["parameters"]
max_epochs = 30
num_gpus = 0  # 1: train on an accelerator, if there is one

# %% tags=["export"]
def init_seq2seq(module):
    """Xavier weights for linear layers and for all matrices of a GRU."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.GRU):
        for name, param in module.named_parameters():
            if "weight" in name:
                nn.init.xavier_uniform_(param)

# %% tags=["export"]
class Seq2SeqEncoder(Encoder):
    """An embedding and a GRU; returns outputs (T, n, h) and its state.

    With valid lengths (n,) the padding is never read: the state (layers, n,
    h) is that after the last valid token.
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

# %% tags=["export"]
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

# %% tags=["export"]
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

    def predict_step(self, batch, num_steps):
        """Greedy translations (n, num_steps) of a batch, in eval mode.

        `batch` is (source, decoder input, valid lengths, ...); of the
        decoder input only the first column, "<bos>", is read.
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

# %% tags=["export"]
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

# %% tags=["export"]
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

# %% tags=["export"]
def translate(model, data, sentences):
    """Greedy translations of English sentences, strings of tokens."""
    device = next(model.parameters()).device
    batch = d2l.to_device(data.build(sentences, [""] * len(sentences)),
                          device)
    texts = []
    for row in model.predict_step(batch, data.num_steps).tolist():
        tokens = data.tgt_vocab.to_tokens(row)
        end = tokens.index("<eos>") if "<eos>" in tokens else len(tokens)
        texts.append(" ".join(tokens[:end]))
    return texts
