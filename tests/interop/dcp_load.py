"""dcp_load.py SHARDLENS SAMPLE FOLDER: what `shardlens convert --to dcp` writes, loaded by torch.distributed.checkpoint itself: without a process group, by
one and by two processes (whole tensors and DTensors), and through its own conversion into one torch file. Every value is compared with the source."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as multiprocessing
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from zero2_source import Zero2Source


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def flat(value, path=()):
    """Leaves of a tree as torch flattens it: {path: value}."""
    if isinstance(value, dict):
        return {k: v for key, below in value.items() for k, v in flat(below, path + (str(key),)).items()}
    if isinstance(value, list) and any(isinstance(one, (dict, list, torch.Tensor)) for one in value):
        return {k: v for i, below in enumerate(value) for k, v in flat(below, path + (i,)).items()}
    return {path: value}


def same(want, have):
    if isinstance(want, torch.Tensor):
        return isinstance(have, torch.Tensor) and want.dtype == have.dtype and want.shape == have.shape and torch.equal(bits(want), bits(have))
    if isinstance(want, (tuple, list)):
        return type(want) is type(have) and len(want) == len(have) and all(map(same, want, have))
    return type(want) is type(have) and want == have


def differences(what, want, have):
    want, have = flat(want), flat(have)
    lines = [f"{what}: {path} is missing" for path in want.keys() - have.keys()] + [f"{what}: {path} was not expected" for path in have.keys() - want.keys()]
    return lines + [f"{what}: {path}: {want[path]!r} expected, {have[path]!r} found" for path in want.keys() & have.keys() if not same(want[path], have[path])]


def emptied(value):
    """A tree of the same form to load into: nothing of the values is in it."""
    if isinstance(value, dict):
        return {key: emptied(below) for key, below in value.items()}
    if isinstance(value, list):
        return [emptied(below) for below in value]
    if isinstance(value, torch.Tensor):
        return torch.full(value.shape, 1, dtype=torch.uint8).to(value.dtype)
    return None


def load_whole(folder, expected):
    state = emptied(expected)
    dcp.load(state, checkpoint_id=folder, no_dist=not dist.is_initialized())
    return state


def load_sharded(folder, expected):
    """Tensors with rows as DTensors over all processes, and each made whole again."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    # gloo gathers no values of eight bits
    cut = {path: value for path, value in flat(expected).items() if isinstance(value, torch.Tensor) and value.dim() > 0 and value.numel() > 0 and value.dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64)}
    state = {".".join(map(str, path)): distribute_tensor(torch.zeros_like(value), mesh, [Shard(0)]) for path, value in cut.items()}
    dcp.load(state, checkpoint_id=folder)
    whole = {key: value.full_tensor() if isinstance(value, DTensor) else value for key, value in state.items()}
    return whole, {".".join(map(str, path)): value for path, value in cut.items()}


def in_processes(rank, world, store, cases, failed):
    cases = torch.load(cases, weights_only=False)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    lines = []
    for name, folder, expected in cases:
        lines += differences(f"{name}, process {rank} of {world}", expected, load_whole(folder, expected))
        whole, wanted = load_sharded(folder, expected)
        lines += differences(f"{name} in DTensors, process {rank} of {world}", wanted, whole)
    dist.barrier()
    dist.destroy_process_group()
    if lines:
        Path(f"{failed}.{rank}").write_text("\n".join(lines))


def sample_states(sample):
    source = Zero2Source(sample)
    nested = {"model": {}, "optimizer": {"state": {}}, "module": {}}
    for name, value in source.everything().items():
        parameter, _, state = name.partition("/")
        if not state:
            nested["model"][parameter] = value
        elif state == "module":
            nested["module"][parameter] = value
        else:
            nested["optimizer"]["state"].setdefault(parameter, {})[state] = value
    return {"weights": dict(source.weights()), "all": {key: value for key, value in nested.items() if flat(value)}}


def made_tree():
    torch.manual_seed(20261126)
    w = torch.randn(7, 3)
    return {
        "model": {
            "w": w, "transposed": w.t(), "rows": w[2:5], "strided": torch.randn(6, 4)[::2, 1:3], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "half": torch.randn(5).bfloat16(),
            "eight": torch.randn(4, 2).to(torch.float8_e4m3fn), "flags": torch.tensor([True, False, True]), "ids": torch.arange(11), "unsigned": torch.tensor([1, 2, 65535], dtype=torch.uint16), "complex": torch.randn(3, dtype=torch.complex64),
        },
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(7, 3)}}, "param_groups": [{"lr": 0.125, "betas": (0.9, 0.95), "params": [0], "name": None}]},
        "pair": (1, torch.arange(3.0)), "history": [1, 2, 3], "mixed": [1, torch.arange(4)], "epoch": 3, "text": "naïve",
    }


def main():
    shardlens, sample, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    cases = []

    def convert(source, name, *options):
        subprocess.run([shardlens, "convert", source, str(work / name), "--to", "dcp", "--verify", "--progress", "none", *options], check=True)
        return str(work / name)

    for writers in ("1", "3"):
        for select, expected in sample_states(sample).items():
            cases.append((f"sample, {select}, {writers} writers", convert(sample, f"sample-{select}-{writers}", "--select", select, "--dp", writers), expected))
        torch.save(made_tree(), work / "tree.pt")
        cases.append((f"tree, {writers} writers", convert(str(work / "tree.pt"), f"tree-{writers}", "--select", "all", "--dp", writers), made_tree()))
        again = convert(str(work / f"tree-{writers}"), f"again-{writers}", "--select", "all", "--dp", "2")
        cases.append((f"tree of a directory with {writers} writers", again, made_tree()))
    lines = []
    for name, folder, expected in cases:
        lines += differences(f"{name}, no process group", expected, load_whole(folder, expected))
        dcp_to_torch_save(folder, work / "joined.pt")
        joined = torch.load(work / "joined.pt", weights_only=False)
        lines += differences(f"{name}, dcp_to_torch_save", expected, joined)
    torch.save(cases, work / "cases.pt")
    for world in (1, 2):
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            multiprocessing.spawn(in_processes, args=(world, f"{scratch}/store", str(work / "cases.pt"), f"{scratch}/failed"), nprocs=world)
            lines += [text for file in sorted(Path(scratch).glob("failed.*")) for text in file.read_text().splitlines()]
    print("\n".join(lines) or f"{len(cases)} directories are what their sources say")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
