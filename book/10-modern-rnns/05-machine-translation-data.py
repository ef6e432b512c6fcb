# ---
# jupyter:
#   d2l:
#     data: [fra-eng]
#     profiles:
#       gpu:
#         num_gpus: 1
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
# # 10.5 Machine translation and the dataset

# %%
import re

import torch

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.recurrent_neural_networks import Vocab, read_text

# %% tags=["parameters"]
batch_size = 128
num_gpus = 0  # 1: use an accelerator, if there is one

# %% tags=["export"]
def clean_pairs(text):
    """Lower case, plain spaces, and a space before each of , . ! ?"""
    text = re.sub("[\u202f\xa0]", " ", text).lower()
    return re.sub(r"(?<! )([,.!?])", r" \1", text)

# %% tags=["export"]
PRONOUN_STARTS = tuple(
    f"{start} " for start in (
        "i'm", "i am", "he's", "he is", "she's", "she is", "you're",
        "you are", "we're", "we are", "they're", "they are"))

# %% tags=["export"]
class MTFraEng(DataModule):
    """English sentences and their French translations, as indices.

    A batch is (source, decoder input, valid lengths of the sources,
    labels); source, input and labels are (n, num_steps), and the labels are
    the inputs one token later. Sentences end with "<eos>" and are cut or
    filled with "<pad>" to `num_steps` tokens; the input begins with
    "<bos>".

    Without `subset` the first num_train + num_val lines of the file are
    taken. `subset="pronoun"` takes the sentences that begin with a pronoun
    and a form of "to be", at most `num_steps` - 1 tokens on both sides, each
    English sentence once, in an order drawn with a fixed seed. Words that
    occur less than twice in the training part (with `vocab_from="all"`, in
    all lines) become "<unk>".
    """

    def __init__(self, batch_size, num_steps=9, num_train=512, num_val=128,
                 subset=None, vocab_from="train"):
        super().__init__()
        self.save_hyperparameters()
        self.pairs = self.choose(self.tokenize(clean_pairs(
            read_text("fra-eng"))))
        known = self.pairs[:num_train if vocab_from == "train" else None]
        cut = [[tokens[:num_steps] for tokens in side]
               for side in zip(*known)]
        self.src_vocab = Vocab(cut[0], 2, ("<pad>", "<eos>"))
        self.tgt_vocab = Vocab(cut[1], 2, ("<pad>", "<bos>", "<eos>"))
        self.arrays = self.to_arrays(self.pairs)

    def tokenize(self, text):
        """A list of pairs of token lists, each ending with "<eos>"."""
        return [tuple([*part.split(), "<eos>"]
                      for part in line.split("\t")[:2])
                for line in text.splitlines()]

    def choose(self, pairs):
        """The pairs of training, then those of validation."""
        n = self.num_train + self.num_val
        if self.subset == "pronoun":
            once = {}
            for src, tgt in pairs:
                if (" ".join(src).startswith(PRONOUN_STARTS)
                        and max(len(src), len(tgt)) <= self.num_steps):
                    once.setdefault(" ".join(src), (src, tgt))
            pairs = list(once.values())
            order = torch.randperm(
                len(pairs), generator=torch.Generator().manual_seed(0))
            pairs = [pairs[i] for i in order]
        if n > len(pairs):
            raise ValueError(f"{n} pairs wanted, but there are "
                             f"{len(pairs)}; ask for fewer.")
        return pairs[:n]

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

    def build(self, src_sentences, tgt_sentences):
        """The four tensors for new sentences, lists of strings."""
        lines = [f"{src}\t{tgt}" for src, tgt in zip(
            src_sentences, tgt_sentences, strict=True)]
        return self.to_arrays(self.tokenize(clean_pairs("\n".join(lines))))

    def get_dataloader(self, train):
        rows = slice(0, self.num_train) if train else slice(
            self.num_train, None)
        return self.get_tensorloader(self.arrays, train, rows)
