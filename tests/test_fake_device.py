"""The exported code on a device before there is one.

Fake tensors have a shape, a type and a device, here `meta`, and no numbers. An operation on tensors of two devices
fails as on a GPU, backward and optimizer included, so a tensor that the code makes on the CPU by mistake is found
without a driver. `Device` adds what fake tensors let pass, and it counts the read-backs: where the code asks for a
number (`.item()`, `float`, `if`, `.cpu()`), a GPU would wait. Each recipe states how many its code may make.

Every public definition of `d2l_helpers.chapters` and of `d2l` is run by a recipe (`MODELS`, `CALLS`) or stands in
`HOST` with the reason why no tensor of it lies on a device.
"""

import functools
import importlib
import inspect
import pkgutil
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import matplotlib.pyplot as plt
import pytest
import torch
from scipy import sparse
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

import d2l_helpers as d2l
import d2l_helpers.chapters
from d2l_helpers.chapters import attention_and_transformers as c11
from d2l_helpers.chapters import builders_guide as c6
from d2l_helpers.chapters import computational_performance as c13
from d2l_helpers.chapters import computer_vision as c14
from d2l_helpers.chapters import convolutional_neural_networks as c7
from d2l_helpers.chapters import linear_classification as c4
from d2l_helpers.chapters import linear_regression as c3
from d2l_helpers.chapters import modern_cnns as c8
from d2l_helpers.chapters import modern_rnns as c10
from d2l_helpers.chapters import multilayer_perceptrons as c5
from d2l_helpers.chapters import nlp_applications as c16
from d2l_helpers.chapters import nlp_pretraining as c15
from d2l_helpers.chapters import optimization as c12
from d2l_helpers.chapters import preliminaries as c2
from d2l_helpers.chapters import recurrent_neural_networks as c9

META = torch.device("meta")
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
aten = torch.ops.aten

#: Public definitions without tensors on a device -> why. A class stands for its methods.
HOST = {
    "d2l.write_script": "writes a file",
    "d2l.torchrun": "starts programs, which choose their devices themselves",
    "front_matter.set_seed": "seeds the generators",
    "preliminaries.Value": "numbers of Python",
    "preliminaries.topological_order": "numbers of Python",
    "linear_regression.Timer": "a clock",
    "linear_regression.add_to_class": "a decorator",
    "linear_regression.HyperParameters": "attributes",
    "linear_regression.Module.loss": "a stub that subclasses replace",
    "linear_regression.DataModule.get_dataloader": "a stub that subclasses replace",
    "linear_regression.Trainer.clip_gradients": "a stub that Section 9.5 replaces",
    "linear_regression.BatchIterator": "Section 3.3 shows it on the CPU; BatchLoader takes its place",
    "linear_classification.huffman_lengths": "numbers of Python",
    "linear_classification.expected_code_length": "numbers of Python",
    "linear_classification.read_bytes": "reads a file",
    "linear_classification.read_idx": "reads a file",
    "linear_classification.fashion_mnist_files": "finds files",
    "linear_classification.binomial_tail": "takes and gives numbers",
    "linear_classification.required_n": "takes and gives numbers",
    "linear_classification.error_interval": "takes and gives numbers",
    "linear_regression.Module.configure_optimizers": "every model defines its own",
    "linear_classification.reliability": "sums in float64 of predictions, which predict() brings over",
    "linear_classification.calibration_error": "sums in float64 of predictions, as above",
    "multilayer_perceptrons.signal_stats": "an experiment with a generator of the CPU",
    "multilayer_perceptrons.distinct_elements": "counts memory of tensors that have some",
    "multilayer_perceptrons.read_table": "reads a file",
    "multilayer_perceptrons.KaggleHouse": "data frames; the Trainer moves its batches",
    "multilayer_perceptrons.TabularPreprocessor": "data frames",
    "multilayer_perceptrons.k_fold": "rows of data frames",
    "builders_guide.save_checkpoint": "writes a file; Section 6.6 reads it to another device",
    "builders_guide.load_checkpoint": "reads a file; Section 6.6 reads it to another device",
    "builders_guide.cpu": "names of devices",
    "builders_guide.gpu": "names of devices",
    "builders_guide.num_gpus": "names of devices",
    "builders_guide.try_gpu": "names of devices",
    "builders_guide.try_all_gpus": "names of devices",
    "convolutional_neural_networks.receptive_field": "takes and gives numbers",
    "convolutional_neural_networks.conv_out": "takes and gives numbers",
    "modern_cnns.scaled": "takes and gives numbers",
    **{
        f"modern_cnns.{name}": "puts layers together; the networks made of them are run"
        for name in (
            "vgg_block",
            "nin_block",
            "conv_relu",
            "conv_norm",
            "projection",
            "densenet121",
            "DenseLayerB",
            "GoogLeNet",
            "InceptionNet",
            "ResNet",
            "DenseNet",
            "AnyNet",
            "conv_block",
            "transition_block",
        )
    },
    "modern_cnns.ecdf": "errors of networks, numbers of Python, in float64",
    "modern_cnns.regnet_widths": "takes and gives numbers",
    "recurrent_neural_networks.read_text": "reads a file",
    "recurrent_neural_networks.Vocab": "strings and numbers of Python",
    "recurrent_neural_networks.ngrams": "lists of Python",
    "recurrent_neural_networks.zipf_exponent": "takes and gives numbers",
    "recurrent_neural_networks.perplexity": "a float64 sum of numbers on the CPU",
    "recurrent_neural_networks.NgramLM": "counts of the text, which stays on the CPU, in float64",
    "recurrent_neural_networks.time_step": "a clock, which waits for the device",
    "recurrent_neural_networks.look_up": "as above",
    "recurrent_neural_networks.smooth_counts": "as above",
    "modern_rnns.recall_task": "draws on the CPU, with a generator there; the caller moves the result",
    "modern_rnns.clean_pairs": "a string",
    "modern_rnns.sentence_tokens": "a string",
    "modern_rnns.first_pairs": "a list",
    "modern_rnns.bleu": "strings",
    "modern_rnns.corpus_bleu": "strings",
    "modern_rnns.matched_ngrams": "strings",
    "modern_rnns.nearest_neighbor_baseline": "strings",
    "modern_rnns.MTFraEng.references": "strings",
    "modern_rnns.MTFraEng.pronoun_pairs": "strings",
    "modern_rnns.Encoder.forward": "a stub that subclasses replace",
    "modern_rnns.Decoder.forward": "a stub that subclasses replace",
    "modern_rnns.Decoder.init_state": "a stub that subclasses replace",
    "attention_and_transformers.show_heatmaps": "figures; test_figures_copy_to_the_cpu",
    "attention_and_transformers.reversal_task": "draws on the CPU; the caller moves the result",
    "attention_and_transformers.AttentionDecoder.attention_weights": "a stub that subclasses replace",
    "attention_and_transformers.attention_pattern": "a pattern for a figure, made on the CPU",
    "attention_and_transformers.mask_tokens": "draws on the CPU; the caller moves the result",
    "attention_and_transformers.train_flops": "takes and gives numbers",
    "attention_and_transformers.scaling_loss": "takes and gives numbers",
    "attention_and_transformers.compute_optimal": "takes and gives numbers",
    "attention_and_transformers.span_corrupt": "lists of Python",
    "attention_and_transformers.bits_per_char": "takes and gives numbers",
    "optimization.gd": "a path in float64, for a figure",
    "optimization.train_2d": "as above",
    "optimization.on": "a step of such a path",
    "optimization.show_trace_2d": "figures; test_figures_copy_to_the_cpu",
    "optimization.stationary_variance": "takes and gives numbers",
    "optimization.Airfoil": "1500 rows in float64, which stay on the CPU",
    "optimization.train_opt": "as above, with a clock",
    "optimization.Cosine": "takes and gives numbers",
    "computational_performance.Recorder": "keeps what torch.compile hands over",
    "computational_performance.capture": "compiles on fake tensors itself",
    "computational_performance.gantt": "figures of numbers",
    "computational_performance.Task": "numbers",
    "computational_performance.task_table": "numbers",
    "computational_performance.critical_path": "numbers",
    "computational_performance.list_schedule": "numbers",
    "computational_performance.training_memory": "counts bytes",
    "computational_performance.join_launch": "chooses the device",
    "computational_performance.ranks": "numbers",
    "computational_performance.bucket_plan": "numbers",
    "computational_performance.zero_memory": "numbers",
    "computational_performance.save_run": "writes a file; Section 13.6 resumes from it",
    "computational_performance.resume_run": "reads a file, to the device of the network",
    "computational_performance.train_ddp": "autocast knows no fake device; Section 13.6 has a cell for GPUs",
    "computational_performance.fashion_tensors": "pictures, which the Trainer or a script moves",
    "computer_vision.Compose": "calls its steps",
    "computer_vision.show_augmented": "figures",
    "computer_vision.crop_box": "numbers",
    "computer_vision.step_rates": "rates, which are numbers",
    "computer_vision.last_linear": "a name",
    "computer_vision.linear_probe": "fits with fit_logits, in steps that ask the device",
    "computer_vision.read_camvid": "reads files",
    "computer_vision.SegData": "reads files; its loader gives tensors of the CPU",
    "computer_vision.voc_colormap": "a table",
    "computer_vision.colormap2label": "a table",
    "computer_vision.label_indices": "asks whether a colour is in the table; Section 14.9 moves the table to the mask",
    "computer_vision.confusion": "asks whether labels are in range; counts of labels have a length that only they tell",
    "computer_vision.class_iou": "a small matrix of counts",
    "computer_vision.miou": "a small matrix of counts",
    "computer_vision.pixel_accuracy": "a small matrix of counts",
    "computer_vision.tconv_out": "numbers",
    "computer_vision.bilinear_kernel": "a table, which its callers copy to their device",
    "computer_vision.label2image": "asks whether labels are in range; it brings the palette to them",
    "computer_vision.sort_ids": "names",
    "computer_vision.read_csv_labels": "reads a file",
    "computer_vision.split_train_valid": "names",
    "computer_vision.ImageFiles": "reads files",
    "nlp_pretraining.fit_full_softmax": "reads the loss and the norm of the gradient in each step",
    "computer_vision.predict_files": "reads files, and moves each batch to the device of the network",
    "computer_vision.write_submission": "writes a file",
    "computer_vision.check_submission": "reads a file",
    "computer_vision.log_loss": "sums in float64 of predictions, which it takes to the CPU",
    "computer_vision.temperature_fit": "calls log_loss",
    "computer_vision.train_head": "makes a head, moves it, and calls train_ch14",
    "computer_vision.write_prob_submission": "writes a file",
    "computer_vision.read_voc": "reads files",
    "computer_vision.show_boxes": "figures",
    "computer_vision.pad_labels": "labels as they are read, before they move",
    "computer_vision.DetectionData": "reads files; its loader gives tensors of the CPU",
    "computer_vision.dataset_report": "numbers of a data set",
    "computer_vision.size_outliers": "numbers of a data set",
    "computer_vision.to_coco": "writes numbers for another program",
    "computer_vision.coco_ap": "another program counts",
    "computer_vision.ranked_hits": "counts on the CPU what predict_boxes has brought there",
    "computer_vision.precision_recall": "counts on the CPU",
    "computer_vision.average_precision": "counts on the CPU",
    "computer_vision.level_coverage": "boxes of a data set",
    "computer_vision.evaluating": "sets the modes of modules",
    "computer_vision.cell_features": "moves batches to the device of the body, and features back",
    "computer_vision.nms": "ends when nothing changes, so it asks the device; Section 14.4 compares two devices",
    "computer_vision.batched_nms": "calls nms",
    "computer_vision.multibox_detection": "calls nms",
    "nlp_pretraining.huffman": "numbers of Python",
    "nlp_pretraining.Corpus": "words as they are read",
    "nlp_pretraining.read_corpus": "reads files",
    "nlp_pretraining.keep_probability": "counts of the corpus, which stay on the CPU, in float64",
    "nlp_pretraining.subsample": "draws on the CPU, where the corpus stays",
    "nlp_pretraining.window_positions": "positions in the corpus, whose number only its sentences tell",
    "nlp_pretraining.dynamic_pairs": "draws on the CPU, where the corpus stays",
    "nlp_pretraining.noise_weights": "counts of the corpus, as above",
    "nlp_pretraining.AliasSampler": "draws on the CPU; the caller moves the result",
    "nlp_pretraining.draw_negatives": "draws on the CPU; the caller moves the result",
    "nlp_pretraining.batchify": "lists of Python",
    "nlp_pretraining.Epoch": "positions in the corpus",
    "nlp_pretraining.SkipGramData": "its loader gives tensors of the CPU",
    "nlp_pretraining.FreshBatches": "hands on the batches of another loader",
    "nlp_pretraining.judged_pairs": "reads a file",
    "nlp_pretraining.similarity_score": "SciPy ranks numbers on the CPU",
    "nlp_pretraining.shuffled": "draws on the CPU, where the corpus stays",
    "computer_vision.predict_boxes": "calls nms",
    "computer_vision.hungarian_match": "SciPy matches, on the CPU",
    "computer_vision.match_pairs": "calls hungarian_match for each picture",
    "computer_vision.hungarian_loss": "calls match_pairs; Section 14.8 trains with it on the device",
    "nlp_pretraining.cooccurrence": "counts of the corpus, which stay on the CPU, in SciPy",
    "nlp_pretraining.ppmi": "a matrix of SciPy",
    "nlp_pretraining.svd_vectors": "a matrix of SciPy",
    "nlp_pretraining.char_ngrams": "strings",
    "nlp_pretraining.fnv1a": "strings",
    "nlp_pretraining.tokens_and_segments": "strings",
    "nlp_pretraining.BERTVocab": "strings, and indices on the CPU, where texts are masked",
    "nlp_pretraining.BERTText": "lists of Python",
    "nlp_pretraining.encode_text": "strings",
    "nlp_pretraining.word_text": "strings",
    "nlp_pretraining.toy_text": "strings",
    "nlp_pretraining.wiki_text": "reads files",
    "nlp_pretraining.next_sentence_pairs": "lists of Python, drawn on the CPU",
    "nlp_pretraining.draw_sentences": "draws on the CPU for next_sentence_pairs",
    "nlp_pretraining.truncate_pair": "lists of Python",
    "nlp_pretraining.pad_bert": "makes tensors of lists, on the CPU",
    "nlp_pretraining.mask_positions": "draws on the CPU, where the texts stay",
    "nlp_pretraining.BERTData": "its loader gives tensors of the CPU",
    "nlp_pretraining.bert_param_count": "takes and gives numbers",
    "nlp_pretraining.read_sts": "reads text",
    "nlp_pretraining.learn_merges": "strings",
    "nlp_pretraining.wordpiece_encode": "strings",
    "nlp_pretraining.byte_signs": "strings",
    "nlp_pretraining.ByteBPE": "strings",
    "nlp_pretraining.load_gpt2": "reads a file",
    "nlp_pretraining.UnigramLM": "counts of strings in float64, which stay on the CPU",
    "nlp_applications.entails": "words of a toy world",
    "nlp_applications.contradicts": "words of a toy world",
    "nlp_applications.relation": "words of a toy world",
    "nlp_applications.say": "strings",
    "nlp_applications.scene_of": "strings",
    "nlp_applications.plain_text": "strings",
    "nlp_applications.read_snli": "reads a file",
    "nlp_applications.NLIData": "pairs of strings; the training loop moves its batches",
    "nlp_applications.pmi_words": "counts of strings",
    "nlp_applications.pair_features": "strings",
    "nlp_applications.linear_predictions": "strings, and a model of scikit-learn",
    "nlp_applications.hypothesis_only_accuracy": "strings, and a model of scikit-learn",
    "nlp_applications.ToyNLI": "strings",
    "nlp_pretraining.premise_split": "strings",
    "nlp_pretraining.caption_text": "reads files",
    "nlp_pretraining.unigram_entropy": "counts of the text, which stays on the CPU, in float64",
    "nlp_pretraining.NeighbourCounts": "as above",
    "nlp_pretraining.length_batches": "batches of the CPU, whose lengths it reads; the caller moves them",
    "nlp_pretraining.as_input": "a text on the CPU; the caller moves it",
    "nlp_pretraining.Pretrained": "holds what was trained",
    **{
        f"nlp_pretraining.{name}": "cuts batches on the CPU to lengths that it reads, then moves them; their losses are run"
        for name in ("train_bert", "evaluate_bert", "pretrain", "toy_bert", "caption_bert")
    },
    **{
        f"nlp_pretraining.{name}": "a text of the CPU, moved whole, to a network that is run; needs its words"
        for name in ("fill_mask", "encode_bert", "context_similarity")
    },
    "nlp_pretraining.Glove": "holds what train_glove gives",
    "nlp_pretraining.read_vectors": "reads a file",
    "nlp_pretraining.Answers": "holds what evaluate_analogies gives",
    "nlp_pretraining.analogy": "gives words, whose indices it reads back",
    "nlp_pretraining.planted_embeddings": "draws on the CPU, where its table stays",
    "nlp_pretraining.ivf_search": "reads back how long the lists are",
    "nlp_applications.read_sentences": "reads files",
    "nlp_applications.read_imdb": "reads files",
    "nlp_applications.split_texts": "strings",
    "nlp_applications.length_buckets": "lengths of texts, which a loader holds on the CPU",
    "nlp_applications.pad_texts": "a loader's batch; the training loop moves it",
    "nlp_applications.TextClassificationData": "strings; the training loop moves its batches",
    "nlp_applications.lexicon_score": "strings",
    "nlp_applications.bow_features": "strings, and sparse matrices of SciPy",
    "nlp_applications.ToyReviews": "strings",
    "nlp_applications.pack": "needs the values of the lengths, on the CPU, as PyTorch does",
    "nlp_applications.minilm_vectors": "reads a file; load_embeddings copies rows of what it gives",
    "nlp_applications.Winner": "holds what winning_ngrams gives",
    "nlp_applications.winning_ngrams": "a text of the CPU, moved to a network that is run; gives words",
    "nlp_applications.cut": "a batch of the CPU, whose lengths it reads; the caller moves it",
    "nlp_applications.as_pair": "two strings, moved to the network; needs its words",
    "nlp_applications.predict_nli": "two strings, moved to a network that is run; gives a label",
    "nlp_applications.alignment": "two strings, moved to a network that is run",
    "nlp_applications.predict_pairs": "cuts batches on the CPU to lengths that it reads, then moves them",
    "nlp_applications.fit_nli": "as above; the network is run",
    "nlp_applications.best_span": "reads scores of one text, wherever they are",
    "nlp_applications.align_labels": "lists of Python",
    "nlp_applications.bio_decode": "strings",
    "nlp_applications.span_f1": "strings",
    "nlp_applications.BiEncoder": "strings to vectors that are kept on the CPU, by a network that moves its batches",
    "nlp_applications.NLIBERTData": "strings; finetune moves its batches",
    **{
        f"nlp_applications.{name}": "cuts or takes batches of the CPU, then moves them to a network that is run"
        for name in ("pair_scores", "finetune", "tuned", "label_curve")
    },
    **{
        f"nlp_applications.{name}": "reads or writes files"
        for name in ("save_pretrained", "load_pretrained")
    },
    "nlp_applications.chat_example": "strings",
    "attention_and_transformers.BPETokenizer": "strings",
    "attention_and_transformers.merge": "strings",
    "attention_and_transformers.apply_merges": "strings",
    "d2l.try_device": "names of devices; tests/test_device.py",
    "linear_classification.FashionMNIST.visualize": "figures; test_figures_copy_to_the_cpu",
    "d2l.plot": "figures; test_figures_copy_to_the_cpu",
    "d2l.heatmap": "figures; test_figures_copy_to_the_cpu",
    "d2l.show_images": "figures; test_figures_copy_to_the_cpu",
    "d2l.use_style": "settings of Matplotlib",
    "d2l.describe": "text",
    "d2l.sliders": "figures",
    "d2l.fetch": "files",
    "d2l.Dataset": "files",
    "d2l.DataError": "an exception",
}


class Device(TorchDispatchMode):
    """Makes fake tensors on `meta` behave as on a GPU: stricter about devices, and numbers can be read back.

    A number that is read back is 0, and counted in `reads`. With `float64=False` a tensor of that type on the
    device is an error: Apple's GPUs have none.
    """

    #: Operations that take a tensor of the CPU beside one of the device; an index may lie there too.
    MAY_MIX = (aten.copy_, aten._to_copy)
    #: Operations that take not even a scalar of the CPU.
    STRICT = (aten.cat, aten.stack)

    def __init__(self, float64: bool = False):
        super().__init__()
        self.float64, self.reads = float64, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "aten" and func.has_kernel_for_dispatch_key(COMPOSITE):
            with self:  # what it is made of, as inference mode leaves it whole
                return func.decompose(*args, **kwargs)
        packet, leaves = func.overloadpacket, tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        here = any(t.device == META for t in tensors) or kwargs.get("device") == META
        cpu = [t for t in tensors if t.device.type == "cpu"]
        indexed = packet is aten.index and args[0].device == META
        if here and not indexed and packet not in self.MAY_MIX:
            changes_cpu = packet.__name__.endswith("_") and args[0].device != META
            if changes_cpu or any(t.ndim or packet in self.STRICT for t in cpu):
                raise RuntimeError(f"{func}: tensors on the device and on the CPU")
            if any(isinstance(leaf, torch.Generator) for leaf in leaves):
                raise RuntimeError(f"{func}: a generator of the CPU for a tensor on the device")
        if packet is aten._local_scalar_dense:
            self.reads += here
            return _zero(args[0].dtype)
        if packet is aten._to_copy and here and kwargs.get("device", META).type == "cpu":
            self.reads += 1
        if here and packet is aten.bincount:  # its size depends on the numbers
            self.reads += 1
            size = kwargs["minlength"] if "minlength" in kwargs else args[2]
            return torch.zeros(size, dtype=torch.long, device=META)
        if packet is aten.linalg_lstsq:  # the size of the residuals depends on the numbers
            return torch.zeros_like(args[0].mT @ args[1]), *[args[0].new_zeros(0)] * 3
        if here and packet is aten.index:
            self.reads += sum(i is not None and i.dtype == torch.bool for i in args[1])
            args = args[0], [i for index in args[1] for i in _all_rows(index)]
        result = func(*args, **kwargs)
        for leaf in tree_leaves(result):
            wide = isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64
            assert self.float64 or not (wide and leaf.device == META), (
                f"{func}: float64 on the device, which Apple's GPUs do not have"
            )
        return result


def _zero(dtype: torch.dtype) -> Any:
    return False if dtype == torch.bool else 0.0 if dtype.is_floating_point else 0


def _all_rows(index: torch.Tensor | None) -> list[Any]:
    """The numbers that stand for a mask that chooses everything; another index as it is."""
    if index is None or index.dtype != torch.bool:
        return [index]
    return [torch.zeros(index.numel(), dtype=torch.long, device=index.device)] * index.ndim


@contextmanager
def fake_device(reads: int | None = 0, float64: bool = False) -> Iterator[set[Any]]:
    """Inside, a GPU named `meta`; yields the code objects and the classes of models that run, filled as they do.

    `reads` is how many numbers are read back, exactly; None where that is not the book's decision.
    """
    ran: set[Any] = set()

    def note(frame: types.FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("d2l_helpers"):
            ran.add(frame.f_code)
            ran.update(type(frame.f_locals.get("self")).__mro__)

    device, before = Device(float64), sys.getprofile()
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        device,
        mock.patch.object(d2l, "try_device", lambda *args, **kwargs: META),
    ):
        sys.setprofile(note)
        try:
            yield ran
        finally:
            sys.setprofile(before)
    assert reads is None or device.reads == reads, (
        f"{device.reads} numbers were read back from the device instead of {reads}; a step of training reads none."
    )


class Batches(c3.DataModule):
    """24 examples for training in 6 batches, 4 for validation in one, on the CPU as all data modules serve them."""

    def __init__(self, shape: tuple[int, ...], classes: bool):
        super().__init__()
        self.batch_size, self.generator = 4, torch.Generator()
        self.X = torch.zeros(28, *shape)
        self.y = torch.zeros(28, dtype=torch.long) if classes else torch.zeros(28, 1)

    def get_dataloader(self, train: bool) -> d2l.BatchLoader:
        return self.get_tensorloader(
            (self.X, self.y), train, slice(0, 24) if train else slice(24, None)
        )


def fit(make: Callable[[], nn.Module], shape: tuple[int, ...], classes: bool = True) -> set[Any]:
    """An epoch of the Trainer on the fake device.

    Read back are the points of the board, `plot_train_per_epoch` = 2 and one for each value of validation, and at the
    end of the epoch each mean for the history: 7 for loss and accuracy, 5 for the loss alone, whatever the number of
    batches. A number read back in each step of training would make 6 more.
    """
    model = on_device(make, *shape)
    with (
        fake_device(reads=7 if classes else 5) as ran,
        # Adam counts its steps in a tensor of the CPU, which has no number here
        mock.patch.object(torch.optim.Adam, "step", lambda self: None),
    ):
        trainer = c3.Trainer(max_epochs=1, num_gpus=1)
        trainer.fit(model, Batches(shape, classes))
        parameters = list(model.parameters())
        assert parameters
        assert all(p.device == META and p.grad.device == META for p in parameters)
    plt.close("all")
    assert len(trainer.history["train_loss"]) == 1
    return ran


IMAGE = (1, 28, 28)
#: Model -> how to build it, the shape of an example, and whether its labels are classes.
MODELS: dict[str, tuple[Any, ...]] = {
    "LinearRegression": (lambda: c3.LinearRegression(0.1, 2), (2,), False),
    "WeightDecay": (lambda: c3.WeightDecay(1.0, 0.1, 2), (2,), False),
    "SoftmaxRegressionScratch": (lambda: c4.SoftmaxRegressionScratch(784, 10, 0.1), IMAGE),
    "SoftmaxRegression": (lambda: c4.SoftmaxRegression(10, 0.1), IMAGE),
    "MLPScratch": (lambda: c5.MLPScratch(784, 10, 8, 0.1), IMAGE),
    "MLP": (lambda: c5.MLP(10, 8, 0.1), IMAGE),
    "DropoutMLPScratch": (lambda: c5.DropoutMLPScratch(10, 8, 8, 0.5, 0.5, 0.1), IMAGE),
    "DropoutMLP": (lambda: c5.DropoutMLP(10, 8, 8, 0.5, 0.5, 0.1), IMAGE),
    "LeNet": (lambda: c7.LeNet(), IMAGE),
    "LeNet, ReLU": (lambda: c7.LeNet(activation=nn.ReLU, pool=nn.MaxPool2d), IMAGE),
    "AlexNet": (lambda: c8.AlexNet(width=0.1, fc=16), (1, 65, 65)),
    "VGG": (lambda: c8.VGG(c8.VGG11, fc=16, width=0.1), (1, 32, 32)),
    "NiN": (lambda: c8.NiN(width=0.1), (1, 67, 67)),
    "GoogLeNet": (lambda: c8.GoogLeNet(width=0.1), IMAGE),
    "GoogLeNet, normalized": (lambda: c8.GoogLeNet(width=0.1, norm=True), IMAGE),
    "ResNet": (lambda: c8.ResNet18(width=0.1), IMAGE),
    "ResNet, bottlenecks": (
        lambda: c8.ResNet(((1, 64), (2, 128)), reference=True, block=c8.Bottleneck, width=0.1),
        IMAGE,
    ),
    "LeNet, normalized": (lambda: c8.BNLeNet(), IMAGE),
    "LeNet, normalized from scratch": (lambda: c8.BNLeNetScratch(), IMAGE),
    "DenseNet": (lambda: c8.DenseNet(16, 8, (2, 2)), IMAGE),
    "DenseNet, bottlenecks": (
        lambda: c8.densenet121(10, (2, 2), growth_rate=8, num_channels=16),
        IMAGE,
    ),
    "ConvNeXt": (
        lambda: c8.AnyNet(((1, 8, 1, 4), (1, 16, 1, 4)), 8, block=c8.ConvNeXtBlock),
        IMAGE,
    ),
    "RegNet": (lambda: c8.RegNetX32(), IMAGE),
    "ViT": (lambda: c11.ViT(28, 7, 8, 16, 2, 2), IMAGE),
    "ViT, mean of the patches": (lambda: c11.ViT(28, 14, 8, 16, 2, 1, pool="mean"), IMAGE),
}


def floats(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, device=META)


def numbers(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape, dtype=torch.long, device=META)


def on_device(make: Callable[[], Any], *shape: int) -> Any:
    """A model on the fake device, its lazy layers shaped before."""
    with _disable_current_modes():
        model = make()
        model.eval()(torch.zeros(1, *shape))
        return model.train().to(META)


def scratch(model: Callable[[], c3.Module]) -> torch.Tensor:
    """Plain tensors are not moved with the model (Section 3.4), so they are made on the device."""
    net = model()
    net.w, net.b = (d2l.to_device(t.detach(), META).requires_grad_() for t in (net.w, net.b))
    loss = net.loss(net(floats(4, 2)), floats(4, 1))
    optimizer = net.configure_optimizers()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def weight_decay_scratch() -> None:
    net = c3.WeightDecayScratch(2, 1.0, 0.1)
    scratch(lambda: net)
    net.trainer, net.trainer.num_val_batches = c3.Trainer(1, num_gpus=1), 2
    net.validation_step((floats(4, 2), floats(4, 1)))


def data_module(data: c3.DataModule) -> torch.Tensor:
    """Batches of a data module as the Trainer gets them; the first one, on the device."""
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            X, *_ = d2l.to_device(batch, META)
    return X


def fashion() -> torch.Tensor:
    with _disable_current_modes():
        data = c4.FashionMNIST(batch_size=32, train_size=64, val_size=32)
    data.train_images, data.y_train = d2l.to_device((data.train_images, data.y_train), META)
    data.val_images, data.y_val = d2l.to_device((data.val_images, data.y_val), META)
    assert data.train[:8][0].device == data.val[:8][0].device == META
    data.text_labels(data.y_train[:2])
    X, y = data_module(data)[:1], data.y_train
    c4.image_part(data.train_images[:, 0], y, 4, (14, 14), "train_size")
    return X


def stacked() -> torch.Tensor:
    """Two networks trained side by side for two steps, on batches of their own and on shared ones."""
    with _disable_current_modes():
        stack = c5.Stack([nn.Linear(3, 2) for _ in range(2)]).to(META)
    optim = torch.optim.SGD(stack.parameters(), lr=0.1)
    X, y = floats(4, 3), numbers(4)
    for rows in (numbers(4), numbers(2, 4)):
        c5.train_stack(stack, X, y, [rows], F.cross_entropy, optim)
    return stack(X)


def lazy_init() -> torch.Tensor:
    model = on_device(c7.LeNet, *IMAGE)
    c6.apply_init(model, [floats(1, *IMAGE)], c7.init_cnn)
    c6.apply_init(model, floats(1, *IMAGE), c7.init_he)
    assert c6.count_params(model) == 61_706
    return model(floats(1, *IMAGE))


def ngram_vectors() -> torch.Tensor:
    """Words of the list, and one that has n-grams only."""
    with _disable_current_modes():
        net = c15.FastText(20, 4, ["walk"]).to(META)
    return net(net.rows(["walk", "walking"]))


def bert() -> torch.Tensor:
    """Encoder with both heads, tied and untied, and the block that came later, with padding and without."""
    with _disable_current_modes():
        net = c15.BERTModel(20, 8, 16, 2, 2, max_len=7).to(META)
        untied, modern = c15.MaskLM(20, 8).to(META), c15.ModernBlock(8, 2, 12, window=2).to(META)
    tokens, lens, places = numbers(3, 7), numbers(3), numbers(3, 2)
    net(tokens)
    X, words, order = net(tokens, numbers(3, 7), lens, places)
    Y = modern(modern(X), lens, start=5)
    loss = sum(part.sum() for part in (X, words, order, Y, untied(Y, places)))
    batch = tokens, numbers(3, 7), lens, places, floats(3, 2), numbers(3, 2), numbers(3)
    loss = loss + sum(c15.bert_batch_loss(net, batch))
    loss.backward()
    assert {weights.device for weights in net.encoder.attention_weights} == {META}
    assert net.mlm.decoder.weight.grad.device == modern.W_qkv.weight.grad.device == META
    return loss


def begun() -> nn.Module:
    return c15.small_bert(20, 8, 2, 7)


def norms() -> list[str]:
    model = on_device(lambda: c5.MLP(10, 8, 0.1), 5)
    model(floats(3, 5)).sum().backward()
    return list(c6.grad_norms(model))


def stopping() -> None:
    model, stopper = on_device(lambda: c5.MLP(10, 8, 0.1), 5), c5.EarlyStopping()
    stopper.step(floats(1).sum(), model)
    assert all(value.device == META for value in stopper.state.values())
    stopper.restore(model)


def initialize() -> nn.Module:
    layer = on_device(lambda: nn.Linear(3, 2), 3)
    for scheme in ("default", "xavier", "he", "orthogonal", 0.1):
        c5.init_linear(layer, scheme)
    return layer.weight


def predicted() -> Any:
    loader = d2l.BatchLoader((torch.zeros(8, 5), torch.zeros(8, dtype=torch.long)), 4)
    return c4.predict(on_device(lambda: c5.MLP(10, 8, 0.1), 5), loader)


def sgd() -> torch.Tensor:
    w = floats(2, 1).requires_grad_()
    optimizer = c3.SGD([w], 0.1)
    (w * floats(2, 1)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return w


def fit_lines(X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return c3.fit_normal_equations(X, y)


def score(w: torch.Tensor, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (X @ w[:-1] + w[-1] - y).square().mean()


def loaders() -> Any:
    """Batches of data that lie on the device already, in both orders."""
    for shuffle in (False, True):
        loader = d2l.BatchLoader((floats(8, 3), numbers(8)), 3, shuffle)
        batches = list(loader)
        assert len(batches) == len(loader) == 3
    return batches


def augmented() -> torch.Tensor:
    with _disable_current_modes():
        data = c8.AugmentedFashionMNIST(batch_size=32, train_size=64, val_size=32)
        data.generator = torch.Generator()
    data_module(data)
    return c8.augment_batch(floats(4, *IMAGE), torch.Generator())


def quiet() -> None:
    """Without kernels: the fake device cannot change how a parameter lies in memory."""
    model = on_device(lambda: c5.MLP(10, 8, 0.1), *IMAGE)
    c8.fit_quietly(model, Batches(IMAGE, classes=True), 1, num_gpus=1)


def normalized() -> list[torch.Tensor]:
    with _disable_current_modes():
        layers = [c8.BatchNorm(3, n).to(META) for n in (2, 4)]
    return [layer(floats(4, 3, *(5, 5)[: layer.num_dims - 2])) for layer in layers]


def fold() -> nn.Module:
    with _disable_current_modes():
        pair = nn.Conv2d(3, 4, 3).to(META), nn.BatchNorm2d(4).to(META)
    return c8.fold_bn(*pair)(floats(2, 3, 8, 8))


def checkpointed() -> torch.Tensor:
    block = on_device(lambda: c8.CheckpointedDenseBlock(2, 3), 4, 5, 5)
    Y = block(floats(2, 4, 5, 5).requires_grad_())
    Y.sum().backward()
    return Y


def reparametrized() -> torch.Tensor:
    block = on_device(lambda: c8.RepBlock(4), 4, 5, 5)
    block(floats(2, 4, 5, 5))
    return block.eval().fuse()(floats(2, 4, 5, 5))


def ported() -> None:
    with _disable_current_modes():
        here, there = nn.Linear(2, 3), nn.Linear(2, 3).to(META)
    c8.port_state(here, there)


class Windows(Batches):
    """Windows of five indices instead of images."""

    def __init__(self) -> None:
        super().__init__((5,), classes=True)
        self.X = torch.zeros(28, 5, dtype=torch.long)
        self.y = self.X


def rnn_params() -> tuple[torch.Tensor, ...]:
    return floats(3, 4), floats(4, 4), floats(4)


def sequences() -> list[torch.Tensor]:
    with _disable_current_modes():
        series = c9.SineSeries(T=30, num_train=20)
        windows = c9.TimeMachine(4, num_steps=5, num_train=8, num_val=4)
    return [data_module(series), data_module(windows)]


def states() -> list[torch.Tensor]:
    def layer(Xs: torch.Tensor) -> torch.Tensor:
        return c9.rnn_forward(Xs, floats(2, 4), rnn_params())

    step = functools.partial(c9.rnn_step, W_xh=floats(3, 4), W_hh=floats(4, 4), b_h=floats(4))
    return [
        c9.influence(layer, floats(5, 2, 3)),
        c9.state_grad_norms(step, floats(5, 2, 3), floats(2, 4)),
        c9.linear_scan(floats(5, 2), floats(5, 2)),
    ]


def language_model(scratch: bool) -> None:
    """An epoch of clipped training, as quiet as it is, then three characters read back one by one."""
    with _disable_current_modes():
        vocab = c9.Vocab(list("abc"))
        if scratch:
            model = c9.RNNLMScratch(c9.RNNScratch(len(vocab), 4), len(vocab))
        else:
            model = c9.RNNLM(c9.RNN(len(vocab), 4), len(vocab))
    c9.fit_clipped(model, Windows(), 1, num_gpus=1)
    c9.continue_text(model, "ab", 3, vocab)
    c9.continue_text(model, "ab", 3, vocab, temperature=1.0, generator=torch.Generator())


def cells() -> None:
    """Each layer from a zero state and from the state it returns."""
    for make in (
        c10.LSTMScratch,
        c10.LSTM,
        c10.GRUScratch,
        functools.partial(c10.GRUScratch, reset_after=True),
        functools.partial(c10.GRU, num_layers=2),
        c10.MinGRU,
        functools.partial(c10.StackedRNNScratch, num_layers=2),
        c10.BiRNNScratch,
        c10.BiGRU,
    ):
        with _disable_current_modes():
            layer = make(3, 4).to(META)
        outputs, state = layer(floats(5, 2, 3))
        outputs, _ = layer(outputs[..., :3], state)
        outputs.sum().backward()


def translation() -> tuple[c10.MTFraEng, c10.Seq2Seq]:
    """Pairs of sentences, on the CPU as the loaders serve them, and an untrained model on the device."""
    with _disable_current_modes():
        data = c10.MTFraEng(8, num_train=24, num_val=4)
        sizes = 6, 4, 2
        model = c10.Seq2Seq(
            c10.Seq2SeqEncoder(len(data.src_vocab), *sizes),
            c10.Seq2SeqDecoder(len(data.tgt_vocab), *sizes),
            data.tgt_vocab["<pad>"],
            lr=0.01,
        ).to(META)
    return data, model


def pairs() -> list[torch.Tensor]:
    with _disable_current_modes():
        captions = c10.MTMulti30k(8, num_train=24, num_val=4)
    return [data_module(translation()[0]), data_module(captions)]


def seq2seq() -> None:
    data, model = translation()
    c9.fit_clipped(model, data, 1, num_gpus=1)


def translated() -> list[str]:
    data, model = translation()
    return c10.translate(model, data, ["go .", "i am ."])


def beam() -> Any:
    def step(tokens: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.log_softmax(state, dim=1), state

    return c10.beam_search(step, floats(1, 4), bos=1, eos=2, beam_size=2, max_len=3)


def attention() -> None:
    """Both scores, with lengths for each sentence and for each query; several heads, and shared keys."""
    queries, keys = floats(2, 3, 4).requires_grad_(), floats(2, 5, 4)
    lengths = numbers(2), numbers(2, 3), None
    with _disable_current_modes():
        additive = c11.AdditiveAttention(4, 4, 6).to(META)
        heads = c11.MultiHeadAttention(4, 2).to(META), c11.MultiHeadAttention(4, 2, num_kv_heads=1)
    for layer in (c11.DotProductAttention(0.5), additive, *(layer.to(META) for layer in heads)):
        for valid_lens in lengths:
            layer(queries, keys, keys, valid_lens).sum().backward()
        assert layer.attention_weights.device == META


def positions() -> list[torch.Tensor]:
    q, k, v = floats(3, 5, 4)
    with _disable_current_modes():
        encoding = c11.PositionalEncoding(4, max_len=9).to(META)
    return [
        encoding(floats(2, 3, 4), offset=6),
        c11.apply_rope(floats(2, 5, 4), torch.arange(5, device=META)),
        c11.linear_attention(q, k, v),
    ]


def translator(
    model: Callable[[int, int], tuple[c10.Encoder, c10.Decoder]],
) -> tuple[c10.MTFraEng, c10.Seq2Seq]:
    """As `translation`, with an encoder and a decoder for two sizes of vocabularies."""
    with _disable_current_modes():
        data = c10.MTFraEng(8, num_train=24, num_val=4)
        both = model(len(data.src_vocab), len(data.tgt_vocab))
        return data, c10.Seq2Seq(*both, data.tgt_vocab["<pad>"], lr=0.01).to(META)


def looking_back(score: str) -> tuple[c10.Encoder, c10.Decoder]:
    def model(src: int, tgt: int) -> tuple[c10.Encoder, c10.Decoder]:
        decoder = c11.Seq2SeqAttentionDecoder(tgt, 6, 4, 2, score=score)
        return c10.Seq2SeqEncoder(src, 6, 4, 2), decoder

    return model


def transformer(norm_first: bool) -> Any:
    def model(src: int, tgt: int) -> tuple[c10.Encoder, c10.Decoder]:
        sizes = 4, 8, 2, 2, 0.1
        return (
            c11.TransformerEncoder(src, *sizes, norm_first=norm_first),
            c11.TransformerDecoder(tgt, *sizes, norm_first=norm_first),
        )

    return model


def translator_with_attention(model: Any) -> None:
    """An epoch of training, then two sentences, written token by token."""
    data, model = translator(model)
    c9.fit_clipped(model, data, 1, num_gpus=1)
    c10.translate(model, data, ["go .", "i am ."])
    for part in (model.encoder, model.decoder):
        getattr(part, "attention_weights", None)


def gpt() -> None:
    """An epoch of quiet training, and three tokens with and without a cache, with all limits of sampling."""
    with _disable_current_modes():
        model = c11.GPT(11, d=8, heads=2, kv_heads=1, max_len=9, qk_norm=True).to(META)
        text = torch.zeros(40, dtype=torch.long)
    windows = c11.TokenWindows(text, text, batch_size=4, num_steps=3, steps=2)
    c8.fit_quietly(
        model, windows, 1, lambda params: c11.warmup_cosine(torch.optim.AdamW(params), 2), 0, 1
    )
    for limits in ({"keep": 2}, {"cache": False, "top_k": 3}, {"top_p": 0.5}, {"temperature": 0}):
        c11.generate(model, numbers(2, 4), 3, **limits)
    model.configure_optimizers()
    c11.shift_for_lm(numbers(2, 4), 2)


def changed_pictures() -> None:
    """Changes of a picture and of a batch; the numbers come from the CPU's generator."""
    image, batch = floats(3, 8, 8), floats(4, 3, 8, 8)
    c14.hflip(image)
    c14.random_resized_crop(image, 4)
    c14.shift_hue(image, 0.3)
    c14.adjust_color(image, 1.1, 0.9, 0.8)
    c14.color_jitter(image, 0.1, 0.1, 0.1, 0.1)
    c14.per_image(lambda x, generator=None: x.flip(-1))(batch, numbers(4))
    c14.mixup(batch, floats(4, 10))
    c14.augment_detection(batch, floats(4, 2, 5))


def trained() -> None:
    """An epoch of two batches with a score, and the evaluation."""
    with _disable_current_modes():
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).to(META)
    part = floats(4, 3, 2, 2), numbers(4)
    c14.train_ch14(
        net, part, part, F.cross_entropy, torch.optim.AdamW(net.parameters()), 1, META, batch_size=2
    )
    c14.evaluate(net, part)
    with c14.evaluating(net):
        c14.accuracy(net(part[0]), part[1])


def boxes() -> None:
    """Boxes from one form to another, moved, compared."""
    some, other = floats(5, 4), floats(3, 4)
    c14.box_center_to_corner(c14.box_corner_to_center(some))
    c14.flip_boxes(some)
    c14.resize_boxes(some, 2, 3)
    c14.box_area(some)
    c14.valid_boxes(some, 0.1)
    c14.mask_boxes(floats(2, 6, 6) > 0)
    c14.crop_boxes(some, (0, 0, 1, 1), 0.5)
    c14.box_iou(some, other)
    c14.box_overlap(some, other)
    c14.generalized_box_iou(some, other)
    c14.offset_inverse(some, c14.offset_boxes(some, some))


def detector() -> None:
    """A head on the device: anchors, targets, loss, gradients, predictions."""
    head = on_device(lambda: c14.DenseHead(8), 8, 4, 4)
    anchors = c14.multibox_prior(4, 4, [0.2, 0.3, 0.4], [1], device=META)
    targets = c14.multibox_target(anchors, floats(2, 3, 5))
    c14.assign_anchors(floats(3, 4), anchors)
    for kind in ("plain", "mining", "focal", "uneven"):
        c14.detection_loss(head(floats(2, 8, 4, 4)), *targets, kind=kind).backward()
    c14.focal_loss(floats(3))


def regions() -> None:
    """Pooled and aligned regions with gradients; each tests the regions, which asks the device once."""
    X, rois = floats(2, 3, 6, 8).requires_grad_(), floats(4, 5)
    c14.roi_pool(X, rois, 2, 0.5).sum().backward()
    c14.roi_align(X, rois.requires_grad_(), (2, 3), 0.5).sum().backward()
    c14.bilinear(X, floats(5), floats(5))


def set_head() -> None:
    """A second stage on the device: candidates, answers with and without attention, costs, gradients."""
    trunk = on_device(lambda: c14.DenseHead(8, width=4), 8, 4, 4)
    anchors = c14.multibox_prior(4, 4, [0.2, 0.3, 0.4], [1], device=META)
    for overlap in (8.0, None):
        with _disable_current_modes():
            head = c14.SetHead(trunk, torch.zeros(48, 4), 6, overlap=overlap).to(META)
        scores, boxes = head(floats(2, 8, 4, 4))
        (scores.sum() + boxes.sum()).backward()
        assert all(p.grad is not None for p in head.layers.parameters())
    c14.matching_cost(scores.detach(), boxes.detach(), floats(2, 3, 5))
    c14.sine_code(anchors)


def transferred() -> None:
    """A body with a new head, groups, frozen statistics and adapters, trained for a step."""
    with _disable_current_modes():
        net = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)
        ).to(META)
        c14.replace_head(net, 2)
        c14.add_lora(net, lambda name, layer: isinstance(layer, nn.Conv2d), 2)
    c14.set_trainable(net, lambda name: "1." not in name)
    optimizer = torch.optim.SGD(c14.param_groups(net, 0.1))
    c14.train_frozen_bn(net)
    c14.freeze_bn(net)
    F.cross_entropy(net(floats(2, 3, 2, 2)), numbers(2)).backward()
    optimizer.step()
    c14.merge_lora(net)
    c14.LoRALinear(nn.Linear(3, 2, device=META))(floats(4, 3))


def segmented() -> None:
    c14.pack_colors(floats(2, 4, 4, 3).byte())
    c14.rand_crop(floats(3, 6, 6), numbers(6, 6), 4, 8)
    c14.phase_sums(floats(2, 2, 3, 3), 2)
    c14.upsample(floats(1, 2, 3, 4), 8, (20, 30))
    c14.pad_to_multiple(floats(1, 3, 7, 9), 4)
    tiny = on_device(c14.TinyFCN, 3, 19, 22)  # an FCN
    tiny(floats(2, 3, 17, 30)).sum().backward()
    c14.predict_tiled(tiny, floats(3, 20, 30), 16, 8)
    on_device(c14.TinyUNet, 3, 8, 12)(floats(2, 3, 8, 12)).sum().backward()
    with _disable_current_modes():
        head = c14.FCNHead((8, 32), 4).to(META)
    head([floats(2, 40, 5, 6), floats(2, 320, 2, 2)]).sum().backward()


def contrasted() -> None:
    """Stored features, and both losses of pictures and captions."""
    with _disable_current_modes():
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5)).to(META)
        body = c14.FeatureExtractor(net)
        pairs = c14.ContrastiveNet(nn.Linear(6, 3), 7, 3, bias=-10).to(META)
        c14.head(2, 3, 4).to(META)
    c14.cache_features(body, floats(4, 3, 4, 4), 2)
    z = pairs.logits(pairs(floats(4, 6)), pairs.embed_text(numbers(4, 3)))
    same = floats(4, 4) > 0
    loss = c14.clip_loss(z) + c14.clip_loss(z, same)
    (loss + c14.siglip_loss(z) + c14.siglip_loss(z, same)).backward()


def styled() -> None:
    """Features by hooks, the three losses, and a gradient for the picture."""
    with _disable_current_modes():
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).to(META)
    X = floats(1, 3, 8, 8).requires_grad_()
    maps = c14.extract_features(net, X, ["0", "1"])
    loss = c14.content_loss(maps["0"], floats(1, 4, 6, 6)) + c14.tv_loss(X)
    (loss + c14.style_loss(maps["1"], c14.gram(floats(1, 4, 6, 6)))).backward()


def pyramid() -> None:
    on_device(lambda: c14.down_sample_blk(3, 4), 3, 8, 8)(floats(2, 3, 8, 8))
    with _disable_current_modes():
        net = c14.FPN([4, 8], 4).to(META)
    net([floats(1, 4, 8, 8), floats(1, 8, 4, 4)])


def sampled_words() -> None:
    """Losses of negative sampling and of a tree, with their gradients."""
    with _disable_current_modes():
        tree = c15.HierarchicalSoftmax([1, 2, 3, 4], 5).to(META)
    v = floats(3, 5).requires_grad_()
    loss = c15.neg_sampling_loss(v, floats(3, 5), floats(3, 2, 5)) - tree.log_prob(v, numbers(3))
    loss.sum().backward()
    assert v.grad.device == tree.u.weight.grad.device == META


#: What it does -> the call, read-backs that it may make (None: not the book's decision), float64 on the device.
def optimizers() -> None:
    """Two steps of each: the first makes its state, the second uses it."""
    hyper = {"lr": 0.1, "beta": 0.9, "gamma": 0.9}
    for step in (
        c12.sgd,
        c12.momentum,
        c12.nesterov,
        c12.adagrad,
        c12.rmsprop,
        c12.adam,
        c12.adamw,
    ):
        params, state = [floats(3, 2), floats(2)], dict[str, Any]()
        for _ in range(2):
            step(params, [p + 1 for p in params], state, hyper)


def scheduled() -> None:
    """An epoch of two batches at rates from a schedule, with averaged weights."""
    with _disable_current_modes():
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).to(META)
        average = c12.EMA(model)
    rates, _ = c12.train_scheduled(
        model,
        lambda net, batch: net(batch).square().mean(),
        lambda: [floats(4, 3), floats(4, 3)],
        torch.optim.SGD(model.parameters(), lr=1.0),
        c12.Cosine(2),
        1,
        average.update,
    )
    assert len(rates) == 2 and all(t.device == META for t in average.model.state_dict().values())


def curvatures() -> torch.Tensor:
    with warnings.catch_warnings():
        # PyTorch's own module for forward mode still uses TorchScript when it is first imported
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        return c12.hessian_eigs(lambda x: (x**4).sum(), floats(3))


def steepest() -> None:
    w = floats(3).requires_grad_()
    c12.sharpness(lambda: (w**4).sum(), [w], 3, torch.Generator())


def over_ranks() -> None:
    """Weights and gradients of a small network, with collectives that leave tensors as they are."""
    with _disable_current_modes():
        net = c13.small_lenet().to(META)
    net(floats(2, 1, 28, 28)).sum().backward()
    params = list(net.parameters())
    with (
        mock.patch.object(c13.dist, "broadcast", lambda tensor, src: None),
        mock.patch.object(c13.dist, "all_reduce", lambda tensor: None),
    ):
        c13.broadcast_params(params)
        c13.allreduce_grads(params, 0.5)


def residual() -> None:
    """With both kinds of normalization."""
    for norm in ("batch", "group"):
        with _disable_current_modes():
            net = c13.resnet18(width=0.0625, norm=norm).to(META)
        net(floats(2, 1, 28, 28)).sum().backward()


def word_vectors() -> None:
    """Log-probabilities of skip-gram and CBOW, and their gradients."""
    U, V, c, o, context = floats(9, 4), floats(9, 4), numbers(5), numbers(5), numbers(5, 4)
    c15.skipgram_logprob(U, V, c, o)
    c15.skipgram_grads(U, V, c, o)
    c15.cbow_logprob(U, V, context, c)
    c15.cbow_grads(U, V, context, c)


def word_table() -> None:
    """Vectors by name, their nearest, analogies, and the cells of an inverted file."""
    table = c15.TokenEmbedding((["a", "b", "c", "d", "e"], floats(5, 4)))
    assert len(table) == 6 and table["a"].shape == (4,)
    c15.knn(table.idx_to_vec, table[["a", "z"]], 2, exclude=numbers(2, 1))
    c15.evaluate_analogies([["a", "b", "c", "d"]] * 3, table, batch=2)
    c15.evaluate_analogies([["a", "b", "c", "d"]], table, method="mul")
    c15.ivf_cells(table.idx_to_vec, 2)


def sentiment() -> torch.Tensor:
    """A step of each pooling, packed and not, frozen vectors of a table, and a prediction for texts."""
    with _disable_current_modes():
        toy = c16.ToyReviews(4)
        data = c16.TextClassificationData((toy.texts, toy.labels), (toy.texts, toy.labels), 4)
        table = c15.TokenEmbedding((["good", "bad"], torch.ones(2, 3)))
        frozen = c16.load_embeddings(data.vocab, table).to(META)
        nets = [
            c16.BiRNN(len(data.vocab), 3, 4, 1, pooling, packed).to(META)
            for pooling in c16.BiRNN.poolings
            for packed in (True, False)
        ]
    batch = (numbers(3, 5), numbers(3)), numbers(3)
    with mock.patch.object(c16, "pack", lambda X, lengths: unpacked(X, lengths.cpu())):
        for net in nets:
            assert net.configure_optimizers().param_groups[0]["params"]
            net.loss(net(batch[0]), batch[1]).backward()
        nets[0].embedding = nn.Embedding.from_pretrained(frozen)
        return c16.predict_sentiment(nets[0], data.vocab, toy.texts)


def text_convolution() -> None:
    """textCNN with both tables and both poolings, and the n-grams that win."""
    c16.corr1d_multi_in(floats(2, 5), floats(2, 3))
    c16.corr1d(floats(5), floats(3))
    with _disable_current_modes():  # made on the CPU, then moved
        nets = [c16.TextCNN(9, 4, (2, 3), (5, 6), pool, torch.ones(9, 3)).to(META)
                for pool in ("mean", "max")]  # fmt: skip
    for net in nets:
        net((numbers(2, 7), numbers(2))).sum().backward()
    c16.masked_max(floats(2, 3, 4), numbers(2))
    vocab = c9.Vocab(["a", "b"])
    assert all(isinstance(w, c16.Winner) for w in c16.winning_ngrams(net, vocab, "a b a"))


def aligned_pairs() -> None:
    """Decomposable attention, masked and not."""
    vocab = c9.Vocab(["a", "b"], 0, ["<pad>"])
    for masked in (True, False):
        with _disable_current_modes():
            net = c16.DecomposableAttention(vocab, 4, 6, masked=masked).to(META)
        net((numbers(3, 7), numbers(3, 5))).sum().backward()
        assert all(p.grad.device == META for p in net.parameters())


def bert_heads() -> None:
    """The four heads, with a mask, the contrastive loss and the search."""
    with _disable_current_modes():
        heads = [c16.SequenceHead(8, 3), c16.PairRegressionHead(8), c16.TaggingHead(8, 5)]
        heads = [head.to(META) for head in heads]
        span = c16.SpanHead(8).to(META)
    for head in heads:
        head(floats(2, 4, 8)).sum().backward()
    start, end = span(floats(2, 4, 8), floats(2, 4) > 0)
    (start + end).sum().backward()
    c16.info_nce(floats(3, 4), floats(3, 4))
    c16.retrieve(floats(3, 4), floats(5, 4), 2)


def packed_pairs() -> None:
    """BERT with a head on pairs, both poolings; choices after a prompt."""
    X = numbers(3, 7), numbers(3, 7), numbers(3)
    for pool in ("cls", "mean"):
        with _disable_current_modes():
            bert = c15.BERTModel(9, 4, 8, 2, 1, max_len=8)
            net = c16.BERTClassifier(bert, pool=pool).to(META)
            bert.to(META)
        net(X).sum().backward()
        assert all(p.grad.device == META for p in net.head.parameters())
    with _disable_current_modes():
        net = c11.GPT(9, 8, 2, 1).to(META)
    c16.score_choices(net, [1, 2], [[3], [4, 5]])
    c16.probe_bert(bert)


def global_vectors() -> None:
    """GloVe on a small table, for an epoch of two steps, with a report."""
    table = sparse.csr_array([[1.0, 2.0], [2.0, 3.0]])
    glove = c15.train_glove(table, 3, 1, batch_size=2, device=META, report=lambda now: None)
    c15.glove_weight(glove.b.exp())
    assert isinstance(glove, c15.Glove)


def skip_grams() -> None:
    """A step of training, the two ways to the scores, and the neighbors of a word."""
    batch = numbers(3, 1), numbers(3, 6), floats(3, 6), floats(3, 6)
    data = types.SimpleNamespace(
        corpus=types.SimpleNamespace(vocab=range(9)), train_dataloader=lambda: [batch]
    )
    with _disable_current_modes():
        net = c15.SkipGram(9, 4).to(META)
    with mock.patch.object(c15, "SkipGram", lambda *_: net):
        c15.train_skipgram(data, 4, device=META)
    assert net.embed_u.weight.grad.device == META
    c15.SigmoidBCELoss()(net(*batch[:2]).squeeze(1), batch[2]).sum().backward()
    c15.skip_gram(*batch[:2], net.embed_v, net.embed_u)
    assert all(x.device == META for x in c15.nearest(net.embed_v.weight, 0, 3))


CALLS: dict[str, tuple[Any, ...]] = {
    "residual network for small images": (residual,),
    "words by sampling and by a tree": (sampled_words,),
    "small network over ranks": (over_ranks,),
    # the largest difference, as a number
    "difference": (lambda: c13.max_difference([floats(3)], [floats(3)]), 1),
    "difference quotient": (lambda: c2.numerical_derivative(torch.sin, floats(3), 1e-2),),
    # a number for each of two sides of three partial derivatives
    "gradient by differences": (lambda: c2.numerical_gradient(torch.sum, floats(3), 1e-2), 6),
    "normal equations": (lambda: c3.fit_normal_equations(floats(5, 2), floats(5, 1)),),
    "step": (lambda: c3.sgd_step(floats(2, 1), floats(1), floats(4, 2), floats(4, 1), 0.1),),
    "optimizer": (sgd,),
    "density": (lambda: c3.normal_pdf(floats(3), 0, 1),),
    "scratch model": (lambda: scratch(lambda: c3.LinearRegressionScratch(2, 0.1)),),
    "scratch model with decay": (weight_decay_scratch,),
    "synthetic data": (
        lambda: data_module(
            c3.SyntheticRegressionData(torch.zeros(2), 1.0, generator=torch.Generator())
        ),
    ),
    "high-dimensional data": (lambda: data_module(c3.HighDimData(20, 10, 5, 4)),),
    "start of a linear model": (
        lambda: [
            (m := on_device(lambda: c3.LinearRegression(0.1, 2), 2)).initialize(),
            *m.get_w_b(),
        ],
    ),
    "Legendre polynomials": (lambda: c3.legendre_features(floats(3), 4),),
    "cross-validation": (
        lambda: c3.cross_validate(fit_lines, score, floats(9, 2), floats(9, 1), 3),
    ),
    "penalty": (lambda: c3.l2_penalty(floats(3)),),
    "ridge": (lambda: c3.ridge(floats(5, 2), floats(5, 1), 0.1),),
    "one-hot labels": (lambda: c4.one_hot(numbers(4), 10), 1),  # are all of them classes?
    "softmax": (lambda: c4.softmax(floats(3, 4)),),
    "cross-entropy from scores": (
        lambda: c4.cross_entropy_from_logits(floats(3, 4), floats(3, 4)),
    ),
    "entropy": (lambda: c4.entropy(floats(3, 4)),),
    "divergence": (lambda: c4.kl(floats(3, 4), floats(3, 4)),),
    "images": (fashion, 2),
    "predictions": (predicted, 4),  # outputs and labels of two batches
    "confusion matrix": (lambda: c4.confusion_matrix(numbers(4), numbers(4), 3), 2, True),
    "decision": (lambda: c4.bayes_decision(floats(4, 3), torch.zeros(3, 2)), 0, True),
    "softmax regression by LBFGS": (lambda: c4.fit_logits(floats(9, 2), numbers(9), 3),),
    "importance weights": (lambda: c4.importance_weights(floats(5, 2), floats(4, 2), lambda X: X),),
    "weighted fit": (lambda: c4.weighted_fit(floats(5, 2), floats(5), floats(5)),),
    # the rows of either sample, accuracy, AUC
    "shift detector": (lambda: c4.shift_detector(floats(6, 2), floats(6, 2)), 4, True),
    # a class without examples? and a count of unknown size
    "label shift": (lambda: c4.estimate_label_shift(numbers(3, 3), numbers(7)), 2, True),
    "adjusted scores": (lambda: c4.adjust_logits(floats(4, 3), torch.ones(3), torch.ones(3)),),
    "saved tensors": (lambda: c5.saved_tensors(lambda: floats(3).requires_grad_().exp().sum()),),
    "start of a layer": (initialize,),
    "early stopping": (stopping, 2),
    "dropout": (lambda: [c5.dropout_layer(floats(3, 4), p) for p in (0, 0.5, 1)],),
    "vectors of n-grams": (ngram_vectors,),
    "error of log prices": (lambda: c5.rmsle(floats(3), floats(3)),),
    "folds": (lambda: [floats(9)[v] for _, v in c5.fold_indices(9, 3) + c5.fold_indices(9, 3, 0)],),
    "stack": (stacked,),
    "start of LeNet": (lazy_init,),
    "norms of gradients": (norms, 4),  # one for each parameter
    "cross-correlation": (lambda: c7.corr2d(floats(4, 4), floats(2, 2)),),
    "operations": (lambda: c7.count_macs(on_device(c7.LeNet, *IMAGE), (1, *IMAGE)) and None,),
    "summary of layers": (
        lambda: c7.layer_summary(on_device(c7.LeNet, *IMAGE).net, (1, *IMAGE)) and None,
    ),
    "batches on the device": (loaders,),
    "augmented images": (augmented,),
    "costs": (lambda: c8.cost_table(on_device(c7.LeNet, *IMAGE).net, (1, *IMAGE)) and None,),
    "quiet training": (quiet, 7),
    "batch normalization": (normalized,),
    "checkpointed layers": (checkpointed,),
    "reparametrized block": (reparametrized,),
    "class activation maps": (
        lambda: c8.class_activation_map(
            on_device(lambda: c8.NiN(width=0.1), 1, 67, 67).net, floats(2, 1, 67, 67)
        ),
    ),
    "squeeze and excitation": (
        lambda: on_device(lambda: c8.SqueezeExcite(4, 2), 4, 5, 5)(floats(2, 4, 5, 5)),
    ),
    "vectors normalized": (lambda: c8.layer_norm(floats(3, 4)),),
    "folding": (fold,),
    "autoregression": (lambda: c9.rollout(*c9.fit_ar_lstsq(floats(30), 2), floats(2), 3),),
    "windows": (sequences,),
    "recurrent states": (states,),
    # seven as in `fit`, and the scores of each of six characters
    "language model from scratch": (lambda: language_model(True), 13),
    "language model": (lambda: language_model(False), 13),
    "gated, deep and bidirectional layers": (cells,),
    "pairs of sentences": (pairs,),
    # six for three batches' losses and their means, and the lengths of each of four batches
    "translator": (seq2seq, 10),
    # the lengths, and two sentences of nine tokens
    "translations": (translated, 19),
    "beam": (beam, 3),  # the scores of each of three steps
    "copied state": (ported,),
    "look-up": (lambda: c11.attend(floats(2), floats(5, 2), floats(5, 3), lambda q, K: K @ q),),
    "kernel regression": (
        lambda: c11.nadaraya_watson(floats(5), floats(5), floats(3), lambda u: (-u.square()).exp()),
    ),
    "attention": (attention,),
    "positions": (positions,),
    "translator with attention": (
        lambda: translator_with_attention(looking_back("additive")),
        None,
    ),
    "translator with dot products": (lambda: translator_with_attention(looking_back("dot")), None),
    "Transformer": (lambda: translator_with_attention(transformer(False)), None),
    "Transformer, pre-norm": (lambda: translator_with_attention(transformer(True)), None),
    # the scores of each of three tokens, four times; the rest as in `fit`
    "GPT": (gpt, 19),
    "pairs for BERT, choices after a prompt": (packed_pairs, 1),  # the probe, for the CPU
    "curvatures": (curvatures,),
    "projections": (lambda: [c12.project_l2(floats(3), 1), c12.project_l1(floats(3), 1)],),
    "largest curvature": (steepest, 1),
    "optimizers": (optimizers,),
    # the losses of the steps
    "scheduled training": (scheduled, 2),
    "augmentation": (changed_pictures, None),
    "training of chapter 14": (trained, None),
    "boxes": (boxes, None),
    "detector": (detector, None),
    "regions": (regions, 2),
    "set head": (set_head, None),
    "pyramid of features": (pyramid,),
    "transfer": (transferred, None),
    "segmentation": (segmented, None),
    "style": (styled, None),
    "BERT": (bert,),
    "first weights of BERT": (begun,),
    "word pairs": (lambda: c15.skipgram_pairs(numbers(7), 2), 2),  # how many are inside, twice
    "word vectors": (word_vectors,),
    "word table": (word_table,),
    "sentiment of texts": (sentiment, None),
    # start, value and effect of the n-grams of 11 channels
    "text convolution": (text_convolution, 33),
    "soft alignment of two texts": (aligned_pairs,),
    "heads of BERT, InfoNCE and search": (bert_heads,),
    "global vectors": (global_vectors, 1),  # the loss of the epoch
    "skip-grams": (skip_grams, None),
    "pictures and captions": (contrasted, None),
}


def unpacked(X: torch.Tensor, lengths: torch.Tensor, **kwargs: bool) -> torch.Tensor:
    assert lengths.device.type == "cpu", "lengths of a packed batch lie on the CPU"
    return X


def call(what: Callable[[], Any], reads: int | None = 0, float64: bool = False) -> set[Any]:
    with (
        fake_device(reads, float64) as ran,
        # LBFGS would read numbers in each of its hundred steps, which are all alike
        mock.patch.object(torch.optim.LBFGS, "step", lambda self, closure: closure()),
        # Adam counts its steps in a tensor of the CPU, which has no number here
        mock.patch.object(torch.optim.Adam, "step", lambda self: None),
        # how long a packed batch is depends on numbers
        mock.patch.object(nn.utils.rnn, "pack_padded_sequence", unpacked),
        mock.patch.object(nn.utils.rnn, "pad_packed_sequence", lambda X, **kwargs: (X, None)),
    ):
        what()
    plt.close("all")
    return ran


RECIPES: dict[str, Callable[[], set[Any]]] = {
    **{name: functools.partial(fit, *how) for name, how in MODELS.items()},
    **{name: functools.partial(call, *how) for name, how in CALLS.items()},
}


@functools.cache
def ran(recipe: str) -> frozenset[Any]:
    """Runs a recipe once; the code that it ran."""
    return frozenset(RECIPES[recipe]())


@pytest.mark.parametrize("recipe", RECIPES)
def test_exported_code_stays_on_the_device(recipe: str):
    assert ran(recipe)


def plain(value: object) -> types.FunctionType | None:
    """The function behind a method, a property or a cached property."""
    for name in ("fget", "func", "__wrapped__"):
        value = getattr(value, name, value)
    return value if isinstance(value, types.FunctionType) else None


def exported() -> dict[str, Any]:
    """`module.name` or `module.Class.method` -> the class or the code; modules are those that export it."""
    found: dict[str, Any] = {}
    modules = [
        importlib.import_module(f"{d2l_helpers.chapters.__name__}.{info.name}")
        for info in pkgutil.iter_modules(d2l_helpers.chapters.__path__)
    ]
    own = [
        (f"{module.__name__}.{name}", value)
        for module in modules
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__ and not name.startswith("_")
    ]
    own += [(f"d2l.{name}", getattr(d2l, name)) for name in d2l.__all__]
    methods: dict[types.CodeType, str] = {}
    for name, value in own:
        if inspect.isclass(value):
            found[name] = value
            for method, attribute in vars(value).items():
                function = plain(attribute)
                if function and not method.startswith("_"):
                    home = (
                        function.__module__
                        if name.startswith(d2l_helpers.chapters.__name__)
                        else "d2l"
                    )
                    methods[function.__code__] = f"{home}.{value.__name__}.{method}"
    for name, value in own:
        if inspect.isfunction(value) and value.__code__ not in methods:
            found[name] = value.__code__
    found |= {name: code for code, name in methods.items()}
    return {k.removeprefix(d2l_helpers.chapters.__name__ + "."): v for k, v in found.items()}


def unexplained(found: dict[str, Any], exercised: set[Any], host: dict[str, str]) -> list[str]:
    """What is wrong with the tables: exports that no recipe runs, reasons for what is not there or is run."""
    explained = {name for name in found if name in host or name.rsplit(".", 1)[0] in host}
    missing = [
        f"{name} is exported, and no recipe runs it on the fake device. Add one to MODELS or CALLS of "
        f"{__name__}.py, or say in HOST[{name!r}] why no tensor of it lies on a device."
        for name, what in found.items()
        if what not in exercised and name not in explained
    ]
    return missing + [
        f"HOST[{name!r}]: there is no such export." for name in host if name not in found
    ]


def test_every_export_is_exercised_or_explained():
    exercised = set().union(*(ran(recipe) for recipe in RECIPES))
    assert "\n".join(unexplained(exported(), exercised, HOST)) == ""


def test_a_new_export_is_noticed(monkeypatch: pytest.MonkeyPatch):
    exercised = set(exported().values())

    def positions(X):
        return X + torch.arange(len(X))

    positions.__module__ = c5.__name__
    monkeypatch.setattr(c5, "positions", positions, raising=False)
    monkeypatch.setattr(c5.MLP, "late", c5.add_to_class(c5.MLP)(lambda self: self), raising=False)
    c5.MLP.late.__module__ = c5.__name__
    message, method = unexplained(exported(), exercised, HOST)
    assert message.startswith("multilayer_perceptrons.positions is exported, and no recipe runs it")
    assert "HOST['multilayer_perceptrons.positions']" in message
    assert method.startswith("multilayer_perceptrons.MLP.late is exported")
    gone = unexplained(exported(), {*exported().values()}, {"preliminaries.Gone": "a reason"})
    assert gone == ["HOST['preliminaries.Gone']: there is no such export."]


def test_modules_hold_no_tensors():
    """A tensor made when a module is imported would lie on the CPU for good."""
    for module in (c2, c3, c4, c5, c6, c7, c8, c9, c10, c11):
        assert not [n for n, v in vars(module).items() if isinstance(v, torch.Tensor)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda X: d2l.plot(X[0, 0, 0], [X[0, 0, 0]]),
        lambda X: d2l.heatmap(X[0, 0]),
        lambda X: d2l.show_images(X, 1, 4),
        lambda X: c4.FashionMNIST.visualize(None, (X, X), ncols=4, labels="abcd"),
        c11.show_heatmaps,
    ],
    ids=["plot", "heatmap", "show_images", "visualize", "show_heatmaps"],
)
def test_figures_copy_to_the_cpu(draw: Callable[[torch.Tensor], Any]):
    """What is drawn is copied to the CPU first: a tensor on `meta` has nothing to copy, which is the error seen."""
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        draw(torch.zeros(4, 1, 8, 8, device=META))
    plt.close("all")


class Planted(c5.MLP):
    """An MLP with one fault."""

    def __init__(self, fault: str):
        super().__init__(10, 8, 0.1)
        self.fault, self.weights = fault, torch.ones(10)
        self.seen, self.total = torch.zeros(10), torch.zeros(())

    def forward(self, X):
        X = X.flatten(1)
        if self.fault == "positions":
            X = X + torch.arange(X.shape[1])
        elif self.fault == "mask":
            X = X.masked_fill(torch.ones(X.shape[1], dtype=torch.bool), 0)
        elif self.fault == "generator":
            X = X + torch.empty_like(X).normal_(generator=torch.Generator())
        elif self.fault == "constant in a stack":
            X = X * torch.stack([X.sum(), torch.tensor(1.0)]).mean()
        return super().forward(X)

    def loss(self, Y_hat, Y, averaged=True):
        loss = F.cross_entropy(Y_hat, Y, self.weights if self.fault == "class weights" else None)
        if self.fault == "accumulator":
            self.seen += Y_hat.detach().sum(dim=0)
        elif self.fault == "sum of losses":
            self.total += loss.detach()
        elif self.fault == "labels":
            loss = loss + F.one_hot(Y, 10).float().mean() + torch.eye(10)[Y].mean()
        return loss


@pytest.mark.parametrize(
    "fault",
    [
        "positions",
        "mask",
        "generator",
        "constant in a stack",
        "class weights",
        "accumulator",
        "sum of losses",
        "labels",
    ],
)
def test_a_tensor_on_the_wrong_device_is_found(fault: str):
    with pytest.raises(RuntimeError, match="on the device"):
        fit(lambda: Planted(fault), IMAGE)
    assert fit(lambda: Planted("none"), IMAGE)


def test_parameters_that_nobody_registered_are_found():
    with pytest.raises(
        RuntimeError, match=r"aten.mm.default: tensors on the device and on the CPU"
    ):
        with fake_device(None):
            c3.Trainer(1, num_gpus=1).fit(
                c3.LinearRegressionScratch(2, 0.1), Batches((2,), classes=False)
            )


@pytest.mark.parametrize(
    "read",
    [
        lambda loss: loss.item(),
        lambda loss: float(loss),
        lambda loss: loss > 1 or None,
        lambda loss: loss.detach().cpu(),
        lambda loss: loss.tolist(),
    ],
    ids=["item", "float", "if", "cpu", "tolist"],
)
def test_a_number_read_in_each_step_is_found(read: Callable[[torch.Tensor], Any]):
    class Curious(c5.MLP):
        def training_step(self, batch):
            loss = super().training_step(batch)
            read(loss.detach())
            return loss

    with pytest.raises(AssertionError, match="13 numbers were read back .* instead of 7"):
        fit(lambda: Curious(10, 8, 0.1), IMAGE)


def test_float64_on_the_device_is_found():
    with pytest.raises(AssertionError, match="float64 on the device"):
        call(lambda: floats(3).double())
