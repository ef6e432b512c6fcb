"""Pretrained networks and features on disk: no pickles, nothing stale, equal to their reference outputs."""

import csv
import doctest
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_sources import MIRROR
from torch import nn

from d2l_helpers import data, standins, wordpiece
from d2l_helpers.data import fetch

pytest.importorskip("safetensors", reason="make env installs it")
pytest.importorskip("onnx", reason="make env installs it")
from d2l_helpers import pretrained  # noqa: E402
from d2l_helpers.pretrained import EfficientNetLite0, MiniLM, cached_features, kept, weights  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat", "dog", "##s", "sat", "."]


@pytest.fixture(scope="session")
def standin_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("standins")


@pytest.fixture
def made(standin_cache, monkeypatch) -> Path:
    """Stand-ins, made once for all tests."""
    monkeypatch.setenv("D2L_DATA", "standin")
    monkeypatch.setenv("D2L_CACHE", str(standin_cache))
    return standin_cache


def real(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The real files of a mirror or of the registry; the test is skipped where there are none."""
    if MIRROR:
        monkeypatch.setenv("D2L_MIRRORS", MIRROR)
    for name in names:
        found = fetch(name)
        if not found.is_real:
            pytest.skip(f"{name}: {found.reason}")


def tiny() -> MiniLM:
    torch.manual_seed(0)
    return MiniLM(VOCAB, width=24, layers=2, heads=4).eval()


# weights


@pytest.mark.parametrize("name", ["efficientnet-lite0", "minilm"])
def test_weights_end_as_safetensors(made, name, monkeypatch):
    first, found = weights(name)
    assert not found.is_real
    (kept,) = (made / "weights").glob(f"{name}-*.safetensors")
    monkeypatch.setattr(pretrained, "_read", lambda path: pytest.fail("read again"))
    again, _ = weights(name)
    assert first.keys() == again.keys() and all(torch.equal(first[k], again[k]) for k in first)
    expected = next(iter(standins.PARTS[name]()))[1]
    assert {k: v.shape for k, v in first.items()} == {k: v.shape for k, v in expected.items()}
    assert all(np.array_equal(first[k].numpy(), v) for k, v in expected.items())
    assert kept.stat().st_size > sum(v.nbytes for v in expected.values())


def test_a_converted_file_that_is_cut_is_made_anew(made):
    first, _ = weights("efficientnet-lite0")
    (kept,) = (made / "weights").glob("efficientnet-lite0-*.safetensors")
    for size in (0, 7, 1000, kept.stat().st_size - 1):
        os.truncate(kept, size)
        again, _ = weights("efficientnet-lite0")
        assert all(torch.equal(first[k], again[k]) for k in first)


def test_other_weights_are_another_file(made, monkeypatch):
    weights("efficientnet-lite0")
    found = fetch("efficientnet-lite0")
    changed = made / "changed.pth"
    tensors = torch.load(found.files["efficientnet-lite0.pth"], weights_only=True)
    torch.save({**tensors, "_fc.bias": torch.ones(1000)}, changed)
    other = data.Dataset("efficientnet-lite0", "real", made, {"efficientnet-lite0.pth": changed})
    monkeypatch.setattr(pretrained, "fetch", lambda name: other)
    assert weights("efficientnet-lite0")[0]["_fc.bias"].sum() == 1000
    assert len(list((made / "weights").glob("efficientnet-lite0-*.safetensors"))) == 2


class Trap:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "efficientnet-lite0.pth"
    torch.save({"_fc.bias": Trap(tmp_path / "sprung")}, path)
    found = data.Dataset("efficientnet-lite0", "real", tmp_path, {path.name: path})
    monkeypatch.setattr(pretrained, "fetch", lambda name: found)
    with pytest.raises(pickle.UnpicklingError):
        weights("efficientnet-lite0")
    assert not (tmp_path / "sprung").exists()
    assert not list(data.cache_folder().rglob("*.safetensors"))


def test_a_conversion_that_is_interrupted_leaves_nothing_that_counts(made, tmp_path, monkeypatch):
    monkeypatch.setenv("D2L_CACHE", str(tmp_path))

    def half() -> dict[str, torch.Tensor]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrained._kept("weights/x", half)
    assert not (tmp_path / "weights" / "x.safetensors").exists()
    assert pretrained._kept("weights/x", lambda: {"a": torch.ones(2)})["a"].tolist() == [1, 1]


# EfficientNet-Lite0


@pytest.mark.parametrize("size", [(64, 96), (65, 95), (32, 33)])
def test_features_at_every_stride(size):
    torch.manual_seed(0)
    net = EfficientNetLite0().eval()
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        maps = net.features(x)
        assert net(x).shape == (2, 1000) and net.embed(x).shape == (2, 1280)
    assert [m.shape[1] for m in maps] == [16, 24, 40, 112, 320]
    for stride, m in zip((2, 4, 8, 16, 32), maps, strict=True):
        assert m.shape[2:] == tuple(-(-n // stride) for n in size)
    assert sum(p.numel() for p in net.parameters()) == 4_652_008


def test_bytes_and_floats_are_the_same_pictures():
    net, x = EfficientNetLite0(10).eval(), torch.randint(256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(net(x), net(x / 255))


def test_padding_is_that_of_tensorflow():
    """With stride 2 and an even size, one more at the right and below, none at the left."""
    conv = pretrained._SameConv(1, 1, 3, stride=2, bias=False)
    nn.init.ones_(conv.weight)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert conv(x)[0, 0].tolist() == [[x[0, 0, :3, :3].sum(), x[0, 0, :3, 2:].sum()], [x[0, 0, 2:, :3].sum(), x[0, 0, 2:, 2:].sum()]]  # fmt: skip


def test_standin_weights_fit_the_networks(made):
    net = pretrained.efficientnet_lite0()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 64, 64)).isfinite().all()
        encoder = pretrained.minilm()
        assert encoder.encode(["The dog saw the cat.", "Anna"]).shape == (2, 384)
    assert not net.training and not encoder.training


def test_both_run_on_another_device():
    """On `meta`, every operation on tensors of two devices fails."""
    net = EfficientNetLite0().eval().to("meta")
    assert net(torch.rand(1, 3, 64, 64, device="meta")).device.type == "meta"
    assert tiny().to("meta").encode(["the cat"]).device.type == "meta"


def test_the_cat_is_a_cat_and_the_coffee_is_espresso(monkeypatch):
    from torchvision.models._meta import _IMAGENET_CATEGORIES as names

    real(monkeypatch, "efficientnet-lite0", "skimage-pictures")
    net, found = pretrained.efficientnet_lite0(), {}
    for file, path in fetch("skimage-pictures").files.items():
        picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
        with torch.no_grad():
            found[file] = net(x).softmax(1)[0].topk(3)
    cats = {"Egyptian cat", "tiger cat", "tabby"}
    assert {names[i] for i in found["chelsea.png"].indices} == cats
    assert names[found["coffee.png"].indices[0]] == "espresso"
    assert found["coffee.png"].values[0] == pytest.approx(0.90, abs=0.02)
    assert found["chelsea.png"].values[0] == pytest.approx(0.77, abs=0.02)


# MiniLM


def test_doctests():
    assert doctest.testmod(wordpiece) == doctest.TestResults(failed=0, attempted=2)
    assert doctest.testmod(pretrained) == doctest.TestResults(failed=0, attempted=1)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The cats sat.", ["the", "cat", "##s", "sat", "."]),
        ("  thé\tCAT\u200b\n", ["the", "cat"]),
        ("cat" + "s" * 98, ["[UNK]"]),
        ("dogcat 狗", ["[UNK]", "[UNK]"]),
        ("", []),
    ],
)
def test_word_pieces(text, pieces):
    tokenize = wordpiece.WordPiece(VOCAB)
    assert [VOCAB[i] for i in tokenize(text)] == ["[CLS]", *pieces, "[SEP]"]
    assert tokenize("cat " * 600) == [2, *[5] * 510, 3]


def test_padding_changes_nothing():
    net = tiny()
    with torch.no_grad():
        both = net.encode(["the cat", "the dogs sat. the cat sat."])
        alone = torch.cat([net.encode(["the cat"]), net.encode(["the dogs sat. the cat sat."])])
    torch.testing.assert_close(both, alone)
    assert (both[0] - both[1]).abs().max() > 0.01


def test_similarity_of_sentences(monkeypatch):
    """Spearman 0.824 on the test part of the STS benchmark."""
    from scipy.stats import spearmanr

    real(monkeypatch, "minilm", "bert-vocab", "stsb")
    with open(fetch("stsb").files["stsb-en-test.csv"], encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    net = pretrained.minilm()
    assert len(rows) == 1379 and sum(p.numel() for p in net.parameters()) == 17_241_984
    (first,), (second,) = (cached_features(net, "encode", [r[i] for r in rows]) for i in (0, 1))
    alike = torch.cosine_similarity(first, second)
    assert spearmanr(alike.numpy(), [float(r[2]) for r in rows])[0] == pytest.approx(
        0.824, abs=5e-4
    )


def test_the_tokenizer_agrees_with_that_of_the_library(monkeypatch):
    tokenizers = pytest.importorskip("tokenizers", reason="the book does without it")
    real(monkeypatch, "bert-vocab", "stsb", "multi30k")
    (path,) = fetch("bert-vocab").files.values()
    theirs = tokenizers.BertWordPieceTokenizer(str(path), lowercase=True)
    ours = wordpiece.WordPiece(path.read_text(encoding="utf-8").splitlines())
    texts = [fetch("multi30k").files[f"val.{x}"].read_text(encoding="utf-8") for x in ("fr", "de")]
    texts.append(fetch("stsb").files["stsb-en-test.csv"].read_text(encoding="utf-8"))
    lines = "\n".join(texts).splitlines()
    assert [theirs.encode(line).ids for line in lines] == [ours(line, 10**6) for line in lines]


# features on disk


class Count(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.calls = nn.Parameter(torch.ones(1)), 0
        self.part: nn.Module = nn.Identity()  # without weights

    def rows(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.weight * x.float().sum(1, keepdim=True)

    def two(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [x, x * 2]

    def lengths(self, texts: list[str]) -> torch.Tensor:
        self.calls += 1
        return torch.tensor([[len(text)] for text in texts])


def test_features_are_computed_once():
    net, x = Count().eval(), torch.arange(20.0).reshape(10, 2)
    (first,) = cached_features(net, "rows", x, batch_size=3)
    assert net.calls == 4 and torch.equal(first, x.sum(1, keepdim=True))
    (again,) = cached_features(net, "rows", x, batch_size=5)
    assert net.calls == 4 and torch.equal(first, again) and not first.requires_grad
    assert [torch.equal(a, b) for a, b in zip(cached_features(net, "two", x), (x, 2 * x), strict=True)] == [True, True]  # fmt: skip


@pytest.mark.parametrize(
    "change", ["weights", "part", "inputs", "type", "shape", "method", "texts", "cut"]
)
def test_features_of_something_else_are_computed_anew(change):
    net, x = Count().eval(), torch.arange(20.0).reshape(10, 2)
    cached_features(net, "rows", x)
    cached_features(net, "lengths", ["ab", "c"])
    calls = net.calls
    if change == "weights":
        net.weight.data += 1
        assert cached_features(net, "rows", x)[0][1] == 10
    elif change == "part":
        net.part = nn.ReLU()
        cached_features(net, "rows", x)
    elif change == "inputs":
        cached_features(net, "rows", x + 1)
    elif change == "type":
        cached_features(net, "rows", x.int())
    elif change == "shape":
        cached_features(net, "rows", x.reshape(5, 4))
    elif change == "method":
        net.again = net.rows
        cached_features(net, "again", x)
    elif change == "texts":
        assert cached_features(net, "lengths", ["a", "bc"])[0].tolist() == [[1], [2]]
    else:
        for path in (data.cache_folder() / "kept").glob("features-*.safetensors"):
            path.write_bytes(path.read_bytes()[:-1])
        assert cached_features(net, "rows", x)[0][1] == 5
    assert net.calls == calls + 1


def test_another_vocabulary_is_another_file(monkeypatch):
    """Real weights with the stand-in of the words would otherwise leave features that stay wrong."""
    net = tiny()
    (first,) = cached_features(net, "encode", ["the cat sat"])
    other = MiniLM([*VOCAB[:4], "cat", "the", *VOCAB[6:]], width=24, layers=2, heads=4).eval()
    other.load_state_dict({**net.state_dict(), "spelling": other.spelling})
    (second,) = cached_features(other, "encode", ["the cat sat"])
    assert (first - second).abs().max() > 0.01


def test_a_model_in_training_mode_has_no_features():
    with pytest.raises(ValueError, match=r"call model.eval\(\)"):
        cached_features(Count(), "rows", torch.ones(1, 2))


# results on disk


class Double(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


class Half(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def recipe(**other: object) -> dict[str, object]:
    net = nn.Sequential(nn.Linear(1, 1), Double())
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    return {"net": net, "ids": torch.arange(3), "lr": 0.1, "steps": 1, "code": recipe} | other


def test_what_a_recipe_gives_is_computed_once():
    made, net = [], nn.Linear(2, 2)

    def compute() -> dict[str, torch.Tensor]:
        made.append(1)
        return {"a": net.weight, "tied": net.weight, "b": torch.arange(6).reshape(2, 3).T}

    first, again = kept("x", recipe(), compute), kept("x", recipe(), compute)
    assert len(made) == 1 and not first["a"].requires_grad
    assert all(torch.equal(first[k], again[k]) for k in ("a", "tied", "b")) and again[
        "b"
    ].shape == (3, 2)
    (path,) = (data.cache_folder() / "kept").glob("x-*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert kept("x", recipe(), compute)["b"].shape == (3, 2) and len(made) == 2


def test_another_recipe_is_computed_anew():
    changed = recipe()
    changed["net"][0].weight.data += 1e-6
    others = [
        recipe(), changed, recipe(net=nn.Sequential(recipe()["net"][0], Half())),
        recipe(net=nn.Sequential(Double(), recipe()["net"][0])), recipe(ids=torch.arange(3.0)),
        recipe(ids=torch.arange(3)[:, None]), recipe(ids=[0, 1, 2]), recipe(ids="012"),
        recipe(lr=0.2), recipe(lr="0.1"), recipe(steps=1.0), recipe(steps=True), recipe(steps=None),
        recipe(code=real), recipe(code=Count), recipe(more=1), list(recipe().values()),
    ]  # fmt: skip
    for i, other in enumerate(others):
        assert kept("x", other, lambda i=i: {"i": torch.tensor(i)})["i"] == i
    assert kept("y", recipe(), lambda: {"i": torch.tensor(-1)})["i"] == -1


def test_the_code_of_a_class_is_all_its_methods():
    class Child(Double):
        pass

    found = [pretrained._content(each) for each in (Child(), Half())]
    Child.backward = lambda self, y: y / 2
    found.append(pretrained._content(Child()))
    Child.__bases__ = (Half,)
    found.append(pretrained._content(Child()))
    assert len(set(found)) == 4
    assert pretrained._content(data.Dataset) != pretrained._content(data.Path)


def test_a_recipe_of_unknown_content_is_refused():
    with pytest.raises(TypeError, match="holds a set, whose content"):
        kept("x", {"words": [{"a", "b"}]}, lambda: pytest.fail("computed"))
    with pytest.raises(TypeError, match="holds a Generator"):
        kept("x", torch.Generator(), lambda: pytest.fail("computed"))
