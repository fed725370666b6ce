"""compare.py SOURCE RESULT [options of convert]: loads RESULT with the libraries that people load it with, and compares names, shapes, dtypes and every
bit of the values with what SOURCE says."""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from zero2_source import Zero2Source

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def load_one(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def load_folder(folder):
    """A sharded folder, through its index: each tensor from the file that the index names."""
    (index,) = folder.glob("*.index.json")
    weight_map = json.loads(index.read_text())["weight_map"]
    files = {name: load_one(folder / name) for name in set(weight_map.values())}
    stored = [name for tensors in files.values() for name in tensors]
    assert len(files) > 1, "one file only: nothing was split"
    assert sorted(stored) == sorted(weight_map), "the files and their index name different tensors"
    return {name: files[file][name] for name, file in weight_map.items()}


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def differences(expected, found):
    lines = [f"{name}: missing" for name in expected.keys() - found.keys()]
    lines += [f"{name}: not expected" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        want, have = expected[name], found[name]
        if want.dtype != have.dtype or want.shape != have.shape:
            lines.append(f"{name}: {want.dtype} {list(want.shape)} expected, {have.dtype} {list(have.shape)} found")
        elif not torch.equal(bits(want), bits(have)):
            lines.append(f"{name}: other values, {want.flatten()[:4].tolist()} … expected, {have.flatten()[:4].tolist()} … found")
    return sorted(lines)


def ties(source, found):
    """Names that are tied in the source share their memory after torch.load."""
    return [
        f"{name} and {kept} were tied and are two tensors"
        for name, kept in source.model["shared_params"].items()
        if name in found and found[name].data_ptr() != found[kept].data_ptr()
    ]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("result", type=Path)
    parser.add_argument("--select", default="weights")
    parser.add_argument("--dtype")
    options, _ = parser.parse_known_args()
    source = Zero2Source(options.source)
    expected = {"weights": source.weights, "module": source.module, "optimizer": source.optimizer, "all": source.everything}[options.select]()
    if options.dtype:
        expected = {name: t.to(DTYPES[options.dtype]) if t.is_floating_point() else t for name, t in expected.items()}
    found = load_folder(options.result) if options.result.is_dir() else load_one(options.result)
    lines = differences(expected, found)
    if options.result.suffix == ".pt":
        lines += ties(source, found)
    print("\n".join(lines) or f"{len(found)} tensors are what the source says")
    return 1 if lines else 0


sys.exit(main())
