"""Devices: which one is chosen, what is said about it, and moving batches."""

import doctest
import json
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import pytest
import torch

import d2l_helpers as d2l
from d2l_helpers import device
from d2l_helpers.device import to_device, try_device


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("D2L_DEVICE", raising=False)
    monkeypatch.delenv("D2L_RECORD", raising=False)
    device.once.forget()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretend to be a machine with some accelerators, or with none."""

    def pretend(kind: str | None, count: int = 1) -> None:
        current = SimpleNamespace(type=kind) if kind else None
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: current)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda d: f"Card {d}")
        monkeypatch.setattr(torch.xpu, "get_device_name", lambda d: f"Arc {d}")

    return pretend


def test_doctests():
    result = doctest.testmod(device)
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("cuda", "device: cuda (Card cuda)"),
        ("mps", "device: mps (Apple GPU)"),
        ("xpu", "device: xpu (Arc xpu)"),
        (None, "device: cpu"),
        ("npu", "device: cpu"),
    ],
)
def test_the_best_device_is_taken_and_named_once(machine, capsys, kind, line):
    machine(kind)
    chosen = try_device()
    assert chosen.type == (kind if kind in ("cuda", "mps", "xpu") else "cpu")
    assert try_device() == chosen
    assert capsys.readouterr().out == line + "\n"


def test_quiet(machine, capsys):
    machine("cuda")
    try_device(quiet=True)
    assert capsys.readouterr().out == ""


def test_the_record_names_type_and_index(machine, monkeypatch, tmp_path):
    """The book's runner learns from it where a notebook ran, whatever was printed."""
    monkeypatch.setenv("D2L_RECORD", str(tmp_path / "record"))
    for kind, request in (("cuda", None), ("cuda", "cuda:1"), ("mps", None), (None, None)):
        machine(kind, 2)
        try_device(request, quiet=True)
    machine("xpu")
    try_device()
    lines = [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()]
    devices = ["cuda:0", "cuda:1", "mps:0", "cpu", "xpu:0"]
    assert lines == [{"device": name} for name in devices]


def test_an_accelerator_without_a_current_device_is_none(machine, monkeypatch):
    machine("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    assert try_device(quiet=True) == torch.device("cpu")


def test_environment_and_argument(machine, monkeypatch):
    machine("cuda", 2)
    monkeypatch.setenv("D2L_DEVICE", "cpu")
    assert try_device(quiet=True) == torch.device("cpu")
    assert try_device("cuda:1", quiet=True) == torch.device("cuda:1")
    assert try_device("auto", quiet=True) == torch.device("cuda")
    monkeypatch.setenv("D2L_DEVICE", "")
    assert try_device(quiet=True) == torch.device("cuda")


@pytest.mark.parametrize("asked", ["cuda:2", "mps", "cpu:1", "meta"])
def test_a_device_that_is_not_there(machine, asked):
    machine("cuda", 2)
    with pytest.raises(ValueError, match="not available") as caught:
        try_device(asked)
    assert str(caught.value) == (
        f"Device '{asked}' is not available on this machine, which has: cuda, cpu. Set D2L_DEVICE=auto, or install a PyTorch build for that device."
    )


def test_a_name_that_is_no_device(machine, monkeypatch):
    machine(None)
    monkeypatch.setenv("D2L_DEVICE", "gpu")
    with pytest.raises(
        ValueError,
        match="'gpu' is not a device name. Use 'auto' or one of cpu .argument `request` or environment variable D2L_DEVICE.",
    ) as caught:
        try_device()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_this_machine():
    assert try_device(quiet=True).type in ("cuda", "mps", "xpu", "cpu")
    assert device._name(torch.device("cpu")) == f"{torch.get_num_threads()} threads"


Pair = namedtuple("Pair", "X y")


def test_to_device_keeps_the_structure():
    X = torch.zeros(2, 3)
    batch = {"pair": Pair(X, [X, "text", None]), "more": (X, 1), "ordered": OrderedDict(a=X)}
    moved = to_device(batch, "meta")
    assert isinstance(moved["pair"], Pair)
    assert [type(v) for v in moved["pair"].y] == [torch.Tensor, str, type(None)]
    assert (
        moved["pair"].X.device
        == moved["pair"].y[0].device
        == moved["more"][0].device
        == moved["ordered"]["a"].device
        == torch.device("meta")
    )
    assert isinstance(moved["more"], tuple)
    assert moved["more"][1] == 1


def test_to_device_does_not_copy_what_is_there():
    X = torch.zeros(2)
    assert to_device(X, "cpu") is X
    assert to_device([X], torch.device("cpu"))[0] is X


@pytest.mark.parametrize(
    ("target", "blocks"), [("cpu", True), (torch.device("cpu"), True), ("cuda:0", False)]
)
def test_only_copies_to_an_accelerator_may_return_early(monkeypatch, target, blocks):
    calls = []
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *args, **kwargs: calls.append(kwargs) or self
    )
    to_device(torch.zeros(1), target)
    assert calls == [{"non_blocking": not blocks}]


def test_package_names():
    assert set(d2l.__all__) <= set(dir(d2l))
    for name in d2l.__all__:
        assert getattr(d2l, name) is not None
    with pytest.raises(
        AttributeError,
        match="module 'd2l_helpers' has no attribute 'Trainer'; it has BatchLoader, DataError, ",
    ):
        d2l.Trainer  # noqa: B018
    assert doctest.testmod(d2l).failed == 0
