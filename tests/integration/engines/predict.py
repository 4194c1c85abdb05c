"""Predict classes with exported files, in a process that has one engine alone.

`python predict.py ENGINE IMAGES CLASSES FILE...` reads uint8 images (N, C, H, W), of the size of
the networks' input, from IMAGES (.npy), and writes the classes (files, N) to CLASSES (.npy). How
images are normalised is in the JSON file beside each FILE.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

AT_ONCE = 64
NEEDS = {
    "onnxruntime": {"onnxruntime"},
    "openvino": {"openvino"},
    "torch": {"torch", "safetensors"},
    "executorch": {"executorch", "torch", "torchao"},
}
OTHERS = {"onnx", "onnxscript", "pbkd", "pbkd_zoo", "timm", "torchvision"}.union(*NEEDS.values())


def hide(names: set[str]) -> None:
    """Let packages be as if they were not installed."""

    class Without:
        def __init__(self, finder: Any) -> None:
            self.finder = finder

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            is_hidden = name.split(".")[0] in names
            return None if is_hidden else self.finder.find_spec(name, path, target)

    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]


def in_onnxruntime(path: Path) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {session.get_inputs()[0].name: images})[0]


def in_openvino(path: Path) -> Any:
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment] # its import reports home
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: compiled(images)["logits"]


def in_torch(path: Path) -> Any:
    import torch

    if path.suffix in (".py", ".safetensors"):
        code = path.with_suffix(".py")
        names = {"__file__": str(code), "__name__": "student"}
        exec(compile(code.read_text(), code, "exec"), names)
        network = names["load"]()  # type: ignore[operator]
    elif path.suffix == ".pt":
        network = torch.jit.load(path)  # type: ignore[no-untyped-call]
    else:
        import torch.ao.quantization.fx._decomposed

        network = torch.export.load(path).module()
        if path.name.endswith(".int8.pt2"):
            inductor: Any = importlib.import_module("torch._inductor.config")
            inductor.freezing = True
            network = torch.compile(network, dynamic=False)

    def run(images: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(images)).numpy()

    return run


def in_executorch(path: Path) -> Any:
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")

    def run(images: Any) -> Any:
        batch = torch.from_numpy(images).clone(memory_format=torch.contiguous_format)
        return method.execute([batch])[0].numpy().copy()

    return run


def predict(run: Any, images: Any, about: Any) -> Any:
    mean, std = (np.array(about["preparation"][key]).reshape(-1, 1, 1) for key in ("mean", "std"))
    classes = []
    for first in range(0, len(images), AT_ONCE):
        inputs = (images[first : first + AT_ONCE] / 255 - mean) / std
        classes.append(np.asarray(run(inputs.astype(np.float32))).argmax(1))
    return np.concatenate(classes)


def main(engine: str, images: str, classes: str, *files: str) -> None:
    hide(OTHERS - NEEDS[engine])
    pixels = np.load(images)
    load = globals()[f"in_{engine}"]
    abouts = [json.loads(Path(f"{file}.json").read_text()) for file in files]
    found = [
        predict(load(Path(file)), pixels, about) for file, about in zip(files, abouts, strict=True)
    ]
    np.save(classes, np.stack(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
