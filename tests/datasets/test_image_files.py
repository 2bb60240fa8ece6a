import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisereg.datasets.image_files import (
    decode_images,
    describe_left_out,
    list_subfolders,
    list_tree,
    list_tree_files,
    open_image,
    tree_identity,
)
from noisereg.errors import DatasetError
from noisereg.files.reading import read_file


def load(root, classes, **settings):
    return decode_images(list_tree_files(root), classes, where=root, **{"size": 32, "resize": False, **settings})


def test_pixels_and_labels_are_those_of_the_files_in_order(tmp_path, make_tree):
    pixels = make_tree(tmp_path, ["a", "b"], per_class=3)
    arrays = load(tmp_path, ("a", "b"))
    for split in ("train", "test"):
        expected = np.concatenate([pixels[split, "a"], pixels[split, "b"]])
        np.testing.assert_array_equal(arrays[f"{split}_images"], expected)
        assert arrays[f"{split}_labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert arrays["formats"].tolist() == ["PNG"]


def test_gray_images_become_three_equal_channels(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], per_class=1)
    Image.fromarray(np.full((32, 32), 7, dtype=np.uint8)).save(tmp_path / "train/a/0000.png")
    np.testing.assert_array_equal(load(tmp_path, ("a",))["train_images"], np.full((1, 32, 32, 3), 7))


def test_files_that_are_no_images_by_name_are_passed_over(tmp_path, make_tree):
    make_tree(tmp_path, ["a"])
    (tmp_path / "train/a/notes.txt").write_text("mine")
    (tmp_path / "train/.hidden").mkdir()
    assert len(load(tmp_path, ("a",))["train_images"]) == 2


def test_an_image_of_another_size_is_scaled_to_cover_and_cropped_about_its_centre(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], per_class=1)
    wide = np.zeros((64, 192, 3), dtype=np.uint8)
    wide[:, 64:128] = 200  # the middle third is what is left
    Image.fromarray(wide).save(tmp_path / "train/a/0000.png")
    image = load(tmp_path, ("a",), resize=True)["train_images"][0]
    assert (image[:, 2:-2] == 200).all()


def test_an_image_of_another_size_is_refused_where_the_size_is_known(tmp_path, make_tree):
    make_tree(tmp_path, ["a"], size=(16, 8))
    with pytest.raises(DatasetError, match=f"{tmp_path}/train/a/0000.png is 16x8 pixels, not 32x32; put the original"):
        load(tmp_path, ("a",))


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_image_that_does_not_decode_is_named(tmp_path, make_tree, content):
    make_tree(tmp_path, ["a"], suffix="jpg")
    path = tmp_path / "test/a/0001.jpg"
    path.write_bytes(path.read_bytes()[:600] if content is None else content)
    with pytest.raises(
        DatasetError, match=rf"{path} cannot be read \(it does not decode as an image\); put a whole copy"
    ):
        load(tmp_path, ("a",))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=rf"{tmp_path}/none cannot be read \(No such file .* root=PATH"):
        list_subfolders(tmp_path / "none")


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DatasetError, match=rf"{tmp_path} cannot be read \(Permission denied\)"):
        list_subfolders(tmp_path)


def test_the_identity_of_a_tree_changes_with_its_files(tmp_path, make_tree):
    make_tree(tmp_path, ["a"])
    before = tree_identity(tmp_path)
    assert tree_identity(tmp_path) == before
    (tmp_path / "train/a/0001.png").rename(tmp_path / "gone")
    (tmp_path / "gone").unlink()
    assert tree_identity(tmp_path) != before


def test_the_list_of_a_tree_holds_training_images_first_in_the_order_of_their_classes(tmp_path, make_tree):
    make_tree(tmp_path, ["b", "a"], per_class=1)
    (tmp_path / "test/b/0000.png").rename(tmp_path / os.fsdecode(b"test/b/caf\xe9.png"))
    (tmp_path / "test/b/notes.txt").write_text("mine")
    names, labels, num_train, left_out = list_tree(tmp_path, ("a", "b"))
    assert names.tolist() == [b"train/a/0000.png", b"train/b/0000.png", b"test/a/0000.png", b"test/b/caf\xe9.png"]
    assert (labels.tolist(), num_train, left_out) == ([0, 1, 0, 1], 2, {".txt": 1})


SHADES = np.linspace(0, 1, 16) ** 2  # darker than its mirror image: what inverts or clips it is seen
BYTES = np.round(255 * SHADES)


def encode(picture, kind="PNG", **settings):
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def decode(content):
    return np.asarray(open_image(lambda: content, Path("image")))


def encode_png(samples, *, color, depth=16):
    """One row of big-endian 16-bit samples, by the specification of PNG: Pillow writes no colours of 16 bits."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", len(samples), 1, depth, color, 0, 0, 0)
    rows = zlib.compress(b"\0" + samples.astype(">u2").tobytes())
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def encode_tiff(data, *, bits, order="<", white=1, kind=1):
    """One row of 16 gray samples, by TIFF 6.0: `white` 0 if zero is white, `kind` 1 unsigned, 2 signed, 3 float."""
    tags = {256: 16, 257: 1, 258: bits, 259: 1, 262: white, 273: 0, 277: 1, 278: 1, 279: len(data), 339: kind}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return head + b"".join(entries) + struct.pack(f"{order}I", 0) + data


def pack_12_bits(levels):
    return bytes(b for x, y in levels.reshape(-1, 2).tolist() for b in (x >> 4, (x & 15) << 4 | y >> 8, y & 255))


DEEP = np.round(65535 * SHADES).astype(np.uint16)
OPAQUE = np.full_like(DEEP, 65535)


@pytest.mark.parametrize(
    ("content", "most"),  # how far a byte may be from the rounded one: Pillow takes the high byte of 16-bit colours
    [
        pytest.param(encode(Image.fromarray(DEEP[None])), 0, id="16-bit PNG"),
        pytest.param(encode_png(np.stack([DEEP] * 3, axis=1), color=2), 1, id="16-bit RGB PNG"),
        pytest.param(encode_png(np.stack([DEEP, OPAQUE], axis=1), color=4), 1, id="16-bit LA PNG"),
        pytest.param(encode_png(np.stack([DEEP] * 3 + [OPAQUE], axis=1), color=6), 1, id="16-bit RGBA PNG"),
        pytest.param(encode_tiff(DEEP.astype("<u2").tobytes(), bits=16), 0, id="I;16 TIFF"),
        pytest.param(encode_tiff(DEEP.astype(">u2").tobytes(), bits=16, order=">"), 0, id="I;16B TIFF"),
        pytest.param(encode_tiff((65535 - DEEP).astype("<u2").tobytes(), bits=16, white=0), 0, id="white is 0, 16 bit"),
        pytest.param(encode_tiff((255 - BYTES).astype(np.uint8).tobytes(), bits=8, white=0), 0, id="white is 0, 8 bit"),
        pytest.param(encode_tiff(pack_12_bits(np.round(4095 * SHADES).astype(int)), bits=12), 0, id="12-bit TIFF"),
        pytest.param(encode(Image.fromarray(DEEP[None]), "TIFF", compression="tiff_lzw"), 0, id="LZW TIFF"),
        pytest.param(b"P5 16 1 65535\n" + DEEP.astype(">u2").tobytes(), 0, id="PGM"),
        pytest.param(b"P5 16 1 1000\n" + np.round(1000 * SHADES).astype(">u2").tobytes(), 1, id="PGM up to 1000"),
        pytest.param(b"P6 16 1 65535\n" + np.stack([DEEP] * 3, axis=1).astype(">u2").tobytes(), 0, id="16-bit PPM"),
    ],
)
def test_pixels_of_more_than_8_bits_are_scaled_by_their_whole_range(content, most):
    image = decode(content)
    assert image.shape == (1, 16, 3) and image.dtype == np.uint8
    assert np.abs(image - BYTES[None, :, None]).max() <= most


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode_tiff(DEEP.astype("<u4").tobytes(), bits=32), id="32 bit"),
        pytest.param(encode_tiff(DEEP.astype(">i4").tobytes(), bits=32, order=">", kind=2), id="32 bit, signed"),
        pytest.param(encode_tiff((DEEP // 2).astype("<i2").tobytes(), bits=16, kind=2), id="16 bit, signed"),
        pytest.param(encode_tiff(bytes(16), bits=8, kind=2), id="8 bit, signed"),
        pytest.param(encode_tiff(SHADES.astype("<f4").tobytes(), bits=32, kind=3), id="float TIFF"),
        pytest.param(b"Pf 16 1 -1.0\n" + SHADES.astype("<f4").tobytes(), id="PFM"),
    ],
)
def test_pixels_of_which_none_is_known_to_be_white_are_refused(content):
    with pytest.raises(DatasetError, match=r"^image has signed, 32-bit or float pixels \(mode .\), .* 8 or 16 bits"):
        decode(content)


def palette_image(transparency):
    picture = Image.fromarray(np.arange(16, dtype=np.uint8)[None]).convert("P")
    picture.putpalette([level for gray in BYTES.astype(int).tolist() for level in (gray,) * 3])
    return encode(picture, transparency=transparency)


GRAY = Image.fromarray(BYTES[None].astype(np.uint8))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode(GRAY.convert("LA")), id="LA"),
        pytest.param(encode(Image.merge("RGBA", [GRAY] * 3 + [Image.new("L", GRAY.size, 3)])), id="RGBA"),
        pytest.param(encode(GRAY.convert("RGB").convert("CMYK"), "TIFF"), id="CMYK"),
        pytest.param(palette_image(3), id="palette with a transparent colour"),
        pytest.param(palette_image(bytes(range(16))), id="palette with transparent colours"),
    ],
)
def test_an_image_of_8_bits_keeps_its_colours_whatever_is_transparent(content):
    np.testing.assert_array_equal(decode(content), np.repeat(BYTES[None, :, None], 3, axis=2))


def test_an_image_of_one_bit_is_black_and_white():
    bits = np.arange(16)[None] % 3 == 0
    np.testing.assert_array_equal(decode(encode(Image.fromarray(bits)))[..., 0], 255 * bits)


UPRIGHT = {  # what the viewer does with the stored rows, by the EXIF standard
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_turned_upright_as_its_exif_orientation_says(orientation, kind):
    stored = 40 * np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for pixels in [stored, stored.astype(np.uint16) * 257][: 1 if kind == "WEBP" else 2]:
        settings = {"lossless": True} if kind == "WEBP" else {}
        image = decode(encode(Image.fromarray(pixels), kind, exif=exif, **settings))
        np.testing.assert_array_equal(image[..., 0], UPRIGHT[orientation](stored))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Tag data larger")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0none", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_an_image_whose_exif_is_damaged_stays_as_it_is_stored(exif):
    stored = 40 * np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(stored), exif=exif))[..., 0], stored)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (encode(Image.new("P", (4, 4)), "GIF"), "a GIF"),
        (b"\0\x05\x16\x07\0\2\0\0Mac OS X", "an AppleDouble file of macOS"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
    ],
)
def test_another_file_under_the_name_of_an_image_is_told_by_its_kind(content, kind):
    with pytest.raises(DatasetError, match=rf"^image cannot be read \(it is {kind}, whatever its name\); .* JPEG or"):
        decode(content)


def test_files_that_are_no_images_are_counted_by_kind(tmp_path, make_tree):
    make_tree(tmp_path, ["a", "b"], per_class=1)
    (tmp_path / "train/a/deeper/still").mkdir(parents=True)
    for place in ("deeper/1.png", "deeper/still/2.png", "3.gif", "4.GIF", "README", ".DS_Store", "5.caf\xe9", "6.png"):
        (tmp_path / "train/a" / place).write_bytes(b"x")
    (tmp_path / "train/7.png").write_bytes(b"x")
    (tmp_path / "test/.cache").mkdir()
    (tmp_path / "test/.cache/8.png").write_bytes(b"x")
    (tmp_path / "test/b/folder.png").mkdir()
    (tmp_path / "test/b/._0000.png").write_bytes(b"\0\x05\x16\x07")
    (tmp_path / "test/b/0000.png").rename(tmp_path / "test/b/._hidden.png")
    files = list_tree(tmp_path, ("a", "b"))
    assert files.names.tolist()[-1] == b"test/b/._hidden.png"
    assert b"train/a/6.png" in files.names.tolist() and len(files.names) == 5
    assert files.left_out == {
        ".gif": 2,
        "AppleDouble": 1,
        "beside the class folders": 1,
        "in folders below a class": 2,
        "in hidden folders": 1,
        "of other kinds": 3,
    }
    assert describe_left_out({f".{kind}": 1 for kind in "abcdefg"}).endswith("1 .e, 2 of other kinds)")
    assert describe_left_out(files.left_out) == (
        "10 files left out (2 .gif, 2 in folders below a class, 1 AppleDouble, 1 beside the class folders, "
        "1 in hidden folders, 3 of other kinds)"
    )


def make_loop(path):
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: path.symlink_to("nowhere"), "the link leads nowhere"),
        (make_loop, "Too many levels of symbolic links"),
        (os.mkfifo, "it is a pipe, a socket or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a pipe, a socket or a device"),
    ],
)
def test_what_cannot_be_read_under_the_name_of_an_image_is_refused_and_never_opened(tmp_path, make_tree, make, fault):
    make_tree(tmp_path, ["a", "b"])
    path = tmp_path / "train/b/0001.png"
    path.unlink()
    make(path)
    tree_identity(tmp_path)
    for list_files in (list_tree_files, lambda folder: list_tree(folder, ("a", "b"))):
        with pytest.raises(
            DatasetError, match=rf"^{path} cannot be read \({fault}\); put an image there, or remove it"
        ):
            list_files(tmp_path)
    with pytest.raises(OSError, match=r"No such file|Too many levels|it is no regular file"):
        read_file(path)


def test_links_to_images_and_to_classes_are_followed(tmp_path, make_tree):
    make_tree(tmp_path / "store", ["a", "b"], per_class=1)
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a/1.png").symlink_to(tmp_path / "store" / split / "a/0000.png")
        (tmp_path / split / "b").symlink_to(tmp_path / "store" / split / "b")
    files = list_tree(tmp_path, ("a", "b"))
    assert files.names.tolist() == [b"train/a/1.png", b"train/b/0000.png", b"test/a/1.png", b"test/b/0000.png"]


@pytest.mark.parametrize("target", ["nowhere", "c"])
def test_a_class_that_is_a_link_to_nowhere_is_refused(tmp_path, make_tree, target):
    make_tree(tmp_path, ["a", "b"])
    (tmp_path / "train/c").symlink_to(target)
    with pytest.raises(DatasetError, match=rf"^{tmp_path}/train/c cannot be read \(the link leads nowhere\); mend or"):
        list_subfolders(tmp_path / "train")


def test_a_link_to_a_folder_above_ends_no_walk(tmp_path, make_tree):
    make_tree(tmp_path, ["a", "b"], per_class=1)
    (tmp_path / "train/a/up").symlink_to(tmp_path)
    before = tree_identity(tmp_path)
    assert len(list_tree(tmp_path, ("a", "b")).names) == 4
    (tmp_path / "train/b/0000.png").write_bytes(b"changed")
    assert tree_identity(tmp_path) != before
