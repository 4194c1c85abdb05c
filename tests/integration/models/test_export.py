from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import pbkd
from pbkd.cli import app
from pbkd.config.load import load_config
from pbkd.data.image_decoding import ImageDecoder
from pbkd.errors import ExportError
from pbkd.models.export import Exported, create_exporter, export
from pbkd.models.student_input import preparation_of
from pbkd.pipeline.run import run
from pbkd.plugin.registry import Registry, build_registry
from pbkd.protocols import Exporter

onnxruntime = pytest.importorskip("onnxruntime", reason="needs pip install 'pbkd[export]'")


FORMATS = {
    name: exporter
    for name, exporter in build_registry().strategies["exporter"].items()
    if not hasattr(exporter, "float_format") and name not in ("openvino", "executorch")
}  # the others take seconds each: tests/integration/engines


def format_of(kind: str) -> Exporter:
    return create_exporter(build_registry(), kind, {})


def difference(done: Exported) -> float:
    assert done.likeness.difference is not None
    return done.likeness.difference


@pytest.fixture(scope="module")
def student(finished: Path) -> nn.Module:
    """A student whose pictures are resized and cropped, as those of a folder of photographs."""
    loaded = pbkd.load(finished)
    cropped = replace(preparation_of(loaded), resize=10, interpolation="bicubic")
    vars(loaded)["preparation"] = cropped
    return loaded


@pytest.fixture(scope="module")
def exports(student: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """The student in every format, each in a folder of its own; `pixels-…` take uint8."""
    out = tmp_path_factory.mktemp("exports")
    plain = {kind: export(student, format_of(kind), out / kind / "my-net") for kind in FORMATS}
    pixels = export(student, format_of("onnx"), out / "pixels" / "my-net", with_preparation=True)
    return {**plain, "pixels": pixels}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_students_outputs(
    exports: dict[str, Exported], student: nn.Module, kind: str
) -> None:
    done = exports[kind]
    assert done.path.name == f"my-net{FORMATS[kind].suffix}"
    assert sorted(done.files) == sorted(done.path.parent.iterdir())
    assert done.note is None
    assert difference(done) < 1e-3
    beside = json.loads(Path(f"{done.path}.json").read_text())
    assert beside["input"]["shape"] == ["batch", 1, 8, 8]
    assert beside["output"]["shape"] == ["batch", 10]
    assert beside["preparation"]["resize"] == {"shorter_side": 10}
    assert beside["class_names"] == list(student.class_names)  # type: ignore[arg-type]


FRESH = """
import json, sys
from pathlib import Path


class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("pbkd", "pbkd_zoo"):
            raise ImportError(f"{name} is not to be needed")


sys.meta_path.insert(0, Refuse())
import numpy as np
import torch
from PIL import Image, ImageOps

torch.set_num_threads(1)
folder, photograph = Path(sys.argv[1]), sys.argv[2]


def prepared(about):
    steps = about["preparation"]
    picture = ImageOps.exif_transpose(Image.open(photograph)).convert(steps["mode"])
    shorter, crop = steps["resize"]["shorter_side"], steps["crop"]
    size = [int(shorter * side / min(picture.size)) for side in picture.size]
    picture = picture.resize(size, Image.Resampling[steps["interpolation"].upper()])
    left, top = (round((s - crop[k]) / 2) for s, k in zip(size, ("width", "height")))
    picture = picture.crop((left, top, left + crop["width"], top + crop["height"]))
    pixels = np.asarray(picture)[None, ..., None]
    if about["input"]["dtype"] == "uint8":
        return pixels
    images = (pixels / 255 - np.array(steps["mean"])) / np.array(steps["std"])
    return images.transpose(0, 3, 1, 2).astype(np.float32)


def code(path):
    names = {"__file__": str(path), "__name__": "student"}
    exec(compile(path.read_text(), path, "exec"), names)
    return names["load"]()(names["prepare"](photograph)).tolist()


def onnx(path):
    import onnxruntime

    about = json.loads(Path(f"{path}.json").read_text())
    inputs = {about["input"]["name"]: prepared(about)}
    return onnxruntime.InferenceSession(path).run(["logits"], inputs)[0].tolist()


def program(load):
    def read(path):
        about = json.loads(Path(f"{path}.json").read_text())
        return load(path)(torch.from_numpy(prepared(about))).tolist()

    return read


readers = {
    "safetensors/my_net.py": code,
    "pytorch/my-net.py": code,
    "onnx/my-net.onnx": onnx,
    "pixels/my-net.onnx": onnx,
    "torch-export/my-net.pt2": program(lambda path: torch.export.load(path).module()),
    "torchscript/my-net.pt": program(torch.jit.load),
}
with torch.no_grad():
    found = {name: read(folder / name) for name, read in readers.items()}
assert not any(name.split(".")[0] == "pbkd" for name in sys.modules)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_process_without_pbkd_predicts_what_the_run_would(
    exports: dict[str, Exported], student: nn.Module, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(3).integers(0, 256, (6, 9, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((90, 60), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "photograph.jpg", exif=exif)
    folder = exports["onnx"].path.parent.parent
    words = [sys.executable, "-c", FRESH, str(folder), str(tmp_path / "photograph.jpg")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    preparation = preparation_of(student)
    assert preparation.normalization
    decoded = ImageDecoder(8, 1, 0.8, "bicubic").read(str(tmp_path / "photograph.jpg"))
    with torch.no_grad():
        wanted = student(preparation.normalization.apply(decoded[None], "cpu"))
    found = json.loads(done.stdout)
    assert len(found) == len(FORMATS) + 1
    for logits in found.values():
        torch.testing.assert_close(torch.tensor(logits), wanted, rtol=1e-4, atol=1e-4)


def test_onnx_takes_batches_of_any_size(exports: dict[str, Exported]) -> None:
    for kind, name, shape in (("onnx", "images", [1, 8, 8]), ("pixels", "pixels", [8, 8, 1])):
        session = onnxruntime.InferenceSession(exports[kind].path)
        (images,), (logits,) = session.get_inputs(), session.get_outputs()
        assert (images.name, images.shape[1:], logits.name) == (name, shape, "logits")
        assert isinstance(images.shape[0], str)  # a name, not a number
        dtype = np.float32 if kind == "onnx" else np.uint8
        for batch in (1, 7):
            (found,) = session.run(None, {name: np.zeros((batch, *shape), dtype)})
            assert found.shape == (batch, 10)


@pytest.mark.parametrize("kind", ["safetensors", "pytorch"])
def test_weights_alone_take_no_preparation(student: nn.Module, tmp_path: Path, kind: str) -> None:
    with pytest.raises(ExportError, match=f"the format '{kind}' has no operations"):
        export(student, format_of(kind), tmp_path / "small", with_preparation=True)


@pytest.mark.slow
def test_the_student_of_a_traced_teacher_loads_in_another_process_and_exports(
    registry: Registry, quick: list[str], tmp_path: Path
) -> None:
    traced = ["teacher=digits-resnet", "partitioner=fx", "keep=[stem*, head*, layer1*, layer2*]"]
    result = run(load_config([*quick, *traced]), registry)
    assert [block.name for block in result.blocks if block.replaced] == ["layer3_0", "layer3_1"]
    images = torch.randn(4, 1, 8, 8)
    torch.save(images, tmp_path / "images.pt")
    script = (
        "import sys, torch, pbkd; folder, path = sys.argv[1:];"
        " torch.save(pbkd.load(folder)(torch.load(path)).detach(), path)"
    )
    path = str(tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", script, result.folder, path], check=True)
    again = pbkd.load(result.folder)
    torch.testing.assert_close(torch.load(path), again(images).detach(), rtol=0, atol=1e-4)
    for kind in ("pytorch", "torch-export"):
        assert difference(export(again, format_of(kind), tmp_path / "small")) < 1e-3


@pytest.mark.parametrize("kind", ["safetensors", "pytorch"])
def test_a_program_of_the_users_is_not_written_over(
    student: nn.Module, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "train.py").write_text("import torch\n")
    with pytest.raises(ExportError, match=r"train.py' exists and was not exported by pbkd"):
        export(student, format_of(kind), tmp_path / "train")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["import torch\n"]
    for _ in range(2):
        export(student, format_of(kind), tmp_path / "again")


def test_the_command_writes_and_tells(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(app, ["export", str(finished), "--format", "pytorch"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.splitlines() == [
        "digits_vgg_student.py: its outputs differ from the student's by 0.0e+00 at most",
        "beside it: digits_vgg_student.pth, digits_vgg_student.py.json",
    ]
    words = ["--format", "torchscript", "--out", "a.pt", "--with-preparation"]
    assert CliRunner().invoke(app, ["export", str(finished), *words]).exit_code == 0
    pixels = torch.randint(256, (4, 8, 8, 1), dtype=torch.uint8)
    logits = torch.jit.load("a.pt")(pixels)  # type: ignore[no-untyped-call]
    images = pbkd.transform(finished)(pixels.permute(0, 3, 1, 2))
    torch.testing.assert_close(logits, pbkd.load(finished)(images), rtol=0, atol=1e-4)


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar

import torch
import pbkd


@dataclass(frozen=True)
class Raw:
    name: ClassVar[str] = "raw"
    suffix: ClassVar[str] = ".raw"
    scale: float = 1.0

    def write(self, subject, path):
        torch.jit.trace(subject.network, subject.example).save(path)
        return [path], f"scaled by {self.scale:g}"

    def read(self, path, subject):
        network = torch.jit.load(path)
        return lambda images: self.scale * network(images)


@pbkd.hookimpl
def register_exporters():
    return [Raw]
"""


def test_a_plugins_format_is_written_by_the_command_and_a_wrong_one_refused(
    finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_raw.py").write_text(PLUGIN)
    words = ["export", str(finished), "--out", str(tmp_path / "net")]
    plugin = ["--plugin", str(tmp_path / "my_raw.py")]
    ended = CliRunner().invoke(app, [*words, *plugin])
    assert ended.exit_code == 0, ended.output
    lines = ended.output.splitlines()
    assert lines[0].startswith(f"{tmp_path}/net.raw: its outputs differ from the student's by ")
    assert lines[1:] == ["beside it: net.raw.json", "scaled by 1"]
    for more, told in (
        (["--option", "scale=2"], "my_raw.py' wrote gives other outputs than the student"),
        (["--option", "scale=many"], "'exporter.scale'"),
        (["--option", "scale"], "'scale' is not an option: write --option KEY=VALUE"),
        (["--option", "scale=1", "--option", "scale=2"], "--option has 'scale' twice"),
        (["--format", "row"], "unknown exporter 'row'. Did you mean 'raw'?"),
        (["--plugin", "vgg"], None),
    ):
        refused = CliRunner().invoke(app, [*words, *plugin, *more])
        assert (refused.exit_code == 0) == (told is None)
        assert told is None or told in str(refused.exception)
    none = CliRunner().invoke(app, [*words, "--plugin", "vgg"])
    assert "--plugin vgg has no exporter: choose one with --format" in str(none.exception)
