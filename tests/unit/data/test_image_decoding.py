"""Pictures of every kind, decoded as people see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from pbkd.data.image_decoding import ImageDecoder
from pbkd.errors import DataError

ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright picture, by the orientation that it writes."""


def noise(*shape: int, dtype: Any = np.uint8) -> Any:
    return np.random.RandomState(0).randint(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_whatever_their_orientation(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    upright = Image.fromarray(noise(12, 20, 3))
    stored = upright.transpose(TURNED[orientation]) if orientation in TURNED else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    stored.save(tmp_path / f"stored.{suffix}", exif=exif, **lossless)
    upright.save(tmp_path / "upright.png")
    decoder = ImageDecoder(12, area=0.5)
    for seed in (None, 3):
        wanted = decoder.read(str(tmp_path / "upright.png"), seed)
        assert torch.equal(decoder.read(str(tmp_path / f"stored.{suffix}"), seed), wanted)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b""])
def test_damaged_exif_does_not_matter(tmp_path: Path, exif: bytes) -> None:
    picture = Image.fromarray(noise(16, 16, 3))
    picture.save(tmp_path / "damaged.jpg", exif=exif)
    picture.save(tmp_path / "plain.jpg")
    damaged, plain = (
        ImageDecoder(16).read(str(tmp_path / f"{name}.jpg")) for name in ("damaged", "plain")
    )
    assert torch.equal(damaged, plain)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    deep = noise(9, 9, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    for channels in (1, 3):
        found = ImageDecoder(9, channels).read(str(tmp_path / f"deep.{suffix}"))
        assert found.shape == (channels, 9, 9)
        assert all(np.array_equal(plane, np.rint(deep / 257)) for plane in found.numpy())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_modes_are_converted_as_training_programs_do(
    tmp_path: Path, mode: str, channels: int
) -> None:
    picture = Image.fromarray(noise(8, 8, 4), "RGBA").convert("RGB").convert(mode)
    if "A" in mode:
        picture.putalpha(Image.fromarray(noise(8, 8)))
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    picture.save(path)
    converted = Image.open(path).convert("L" if channels == 1 else "RGB")
    assert torch.equal(
        ImageDecoder(8, channels).read(str(path)), functional.pil_to_tensor(converted)
    )


def test_a_transparent_palette_loses_its_transparency_only(tmp_path: Path) -> None:
    palette = Image.fromarray(noise(8, 8, 3)).quantize(16)
    palette.save(tmp_path / "opaque.png")
    palette.save(tmp_path / "transparent.png", transparency=0)
    opaque, transparent = (
        ImageDecoder(8).read(str(tmp_path / f"{name}.png")) for name in ("opaque", "transparent")
    )
    assert torch.equal(opaque, transparent)


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_the_first_of_several_frames_is_taken(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / f"frames.{suffix}"
    lossless: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **lossless)
    assert ImageDecoder(8).read(str(path))[:, 4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("dtype", "message"),
    [(np.float32, "its pixels are floats"), (np.int32, "its pixels are integers of 32 bits")],
)
def test_pixels_of_unknown_range_are_refused(tmp_path: Path, dtype: Any, message: str) -> None:
    Image.fromarray(noise(8, 8).astype(dtype)).save(tmp_path / "unknown.tif")
    with pytest.raises(DataError, match=rf"unknown\.tif cannot be read \({message}, of unknown"):
        ImageDecoder(8).read(str(tmp_path / "unknown.tif"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"the image .*cut\.{suffix} cannot be read"):
        ImageDecoder(32).read(str(path))
