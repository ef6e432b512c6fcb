"""Pictures read and drawn: sizes, masks that stay labels, boxes that fit, equal seeds."""

import doctest

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("sklearn", reason="make env installs it")
from d2l_helpers import pictures  # noqa: E402
from d2l_helpers.pictures import BananaLike, ShapeImages, ShapeScenes, read_images  # noqa: E402


def test_the_examples_run():
    assert doctest.testmod(pictures).failed == 0


def test_pictures_come_as_they_are_and_in_order(tmp_path):
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, array in zip(paths, given, strict=True):
        Image.fromarray(array).save(path)
    found = read_images(paths)
    assert found.dtype == torch.uint8 and torch.equal(
        found, torch.from_numpy(given).permute(0, 3, 1, 2)
    )
    assert read_images(paths, size=(4, 6)).shape == (3, 3, 4, 6)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_keep_their_labels_when_resized(tmp_path, mode):
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 4:] = 11
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette([255 - i // 3 for i in range(768)])
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as saved:
        assert saved.mode == mode
    found = read_images([tmp_path / "mask.png"], size=(3, 5), mode="L")
    assert found.shape == (1, 3, 5) and set(found.unique().tolist()) == {0, 11}


def test_a_large_picture_is_averaged_not_sampled(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    small = read_images([tmp_path / "board.png"], size=(8, 8))
    assert ((small > 110) & (small < 145)).all()


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        read_images([])
    for i, side in enumerate((4, 5)):
        Image.new("RGB", (side, 4)).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match=r"1\.png.*size="):
        read_images([tmp_path / "0.png", tmp_path / "1.png"])


@pytest.mark.parametrize("kind", [ShapeImages, BananaLike, ShapeScenes])
def test_equal_seeds_draw_equal_pictures_and_others_do_not(kind):
    a, b, c = kind(5, seed=1), kind(5, seed=1), kind(5, seed=2)
    for name, value in vars(a).items():
        other = vars(b)[name]
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, (
            name
        )
    assert not torch.equal(a.images, c.images)
    assert a.images.dtype == torch.uint8 and a.images.float().std() > 10
    with pytest.raises(ValueError, match="n is 0"):
        kind(0)


def test_a_shape_has_the_colour_and_the_class_of_its_caption():
    data = ShapeImages(300, classes=[3, 0], seed=3)
    assert set(data.labels.tolist()) == {0, 1}
    for image, mask, label, color, caption in zip(
        data.images, data.masks, data.labels, data.colors, data.captions, strict=True
    ):
        name = list(pictures.COLORS)[color]
        assert caption == f"a {name} {('ring', 'disc')[label]}"
        inside = image[:, mask].float().mean(1) / 255
        assert (inside - torch.tensor(pictures.COLORS[name])).abs().max() < 0.2
    rings, discs = data.masks[data.labels == 0], data.masks[data.labels == 1]
    hollow = [m.float().mean((1, 2)).mean() for m in (rings, discs)]
    assert hollow[0] < 0.9 * hollow[1]
    with pytest.raises(ValueError, match="0 to 9"):
        ShapeImages(2, classes=[10])


def test_a_box_is_as_tight_as_its_mask():
    data = BananaLike(200, size=48)
    for mask, box in zip(data.masks, data.boxes, strict=True):
        x1, y1, x2, y2 = (box * 48).round().int().tolist()
        assert mask.any() and mask.sum() == mask[y1:y2, x1:x2].sum()
        for side in (mask[y1, :], mask[y2 - 1, :], mask[:, x1], mask[:, x2 - 1]):
            assert side.any()
    inside = data.images.permute(0, 2, 3, 1)[data.masks].float().mean(0)
    assert inside[0] > 200 and inside[2] < 90


def test_scenes_tell_the_same_in_boxes_instances_and_classes():
    data = ShapeScenes(300)
    counts = (data.labels[..., 0] >= 0).sum(1)
    assert set(counts.tolist()) <= {0, 1, 2, 3} and counts.float().mean() > 1.5
    for labels, instances, classes in zip(data.labels, data.instances, data.classes, strict=True):
        here = labels[labels[:, 0] >= 0]
        assert torch.equal(labels[: len(here)], here) and (labels[len(here) :] == -1).all()
        assert set(instances.unique().tolist()) - {0} == set(range(1, len(here) + 1))
        for i, (kind, *box) in enumerate(here.tolist()):
            mask = instances == i + 1
            assert mask.sum() >= 12 and (classes[mask] == kind + 1).all()
            x1, y1, x2, y2 = (round(64 * side) for side in box)
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert (y1, y2 - 1) == (rows[0], rows[-1]) and (x1, x2 - 1) == (columns[0], columns[-1])
        assert torch.equal(classes == 0, instances == 0)
