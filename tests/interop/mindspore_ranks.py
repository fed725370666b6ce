"""mindspore_ranks.py SHARDLENS FOLDER: runs that MindSpore's own functions save and cut are cut anew by shardlens and by MindSpore; what MindSpore loads of both
must be the same. Strategy files of stages are merged by both and read by MindSpore."""

import pathlib
import subprocess
import sys

import mindspore as ms
import numpy as np
from mindspore import Tensor
from mindspore.parallel._parallel_serialization import _build_searched_strategy
from mindspore.train import node_strategy_pb2 as pb

SHARDLENS, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])

# name: (full shape, dtype); every layout: (device matrix, tensor map, optimizer step, optimizer size)
MODEL = {
    "embed": ((24, 8), "float32"),
    "up": ((8, 24), "float16"),
    "down": ((24, 16), "float32"),
    "bias": ((24,), "float32"),
    "head": ((48, 8), "float32"),
    "moment1.embed": ((24, 8), "float32"),
    "global_step": ((), "int32"),
}
ONE_STAGE = {
    4: {"embed": ([2, 2], [0, -1], 2, -1), "up": ([4], [0, -1], 0, 0), "down": ([2, 2], [0, 1], 0, 0), "bias": ([4], [-1], 0, 0), "head": ([2, 2], [-1, 0], 0, 0),
        "moment1.embed": ([2, 2], [0, -1], 2, -1)},
    8: {"embed": ([4, 2], [0, -1], 2, -1), "up": ([2, 4], [-1, 0], 0, 0), "down": ([2, 4], [1, -1], 0, 0), "bias": ([8], [0], 0, 0), "head": ([2, 2, 2], [2, 0], 0, 0),
        "moment1.embed": ([4, 2], [0, -1], 0, 0)},
    2: {"embed": ([2], [-1, 0], 0, 0), "up": ([2], [0, -1], 0, 0), "down": ([2], [-1, -1], 0, 0), "bias": ([2], [0], 0, 0), "head": ([2], [0, -1], 0, 0),
        "moment1.embed": ([2], [-1, 0], 0, 0)},
}
TWO_STAGES = [
    {"embed": ([2, 2], [0, -1], 0, 0), "up": ([2, 2], [-1, 1], 0, 0), "moment1.embed": ([2, 2], [0, -1], 0, 0)},
    {"down": ([2, 2], [1, 0], 0, 0), "bias": ([4], [0], 0, 0), "head": ([2, 2], [0, -1], 2, -1)},
]


def strategy(path, layouts, stage=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    out = pb.ParallelStrategyMap(current_stage=1)
    operator = out.parallel_strategy_item.add(node_name="MatMul_" + next(iter(layouts)))
    operator.parallel_strategys.stage = stage
    for name, (matrix, tensor_map, step, size) in layouts.items():
        layout = out.parallel_layout_item.add(param_name=name).parallel_layouts
        layout.dev_matrix.add().dim.extend(matrix)
        layout.tensor_map.add().dim.extend(tensor_map)
        layout.param_split_shape.add()
        layout.indices_offset.add()
        layout.field, layout.opt_weight_shard_step, layout.opt_weight_shard_size = 0, step, size
    path.write_bytes(out.SerializeToString())
    return path


def whole(form):
    random = np.random.RandomState(7)
    folder = ROOT / f"whole-{form}" / "rank_0"
    folder.mkdir(parents=True)
    entries = [{"name": name, "data": Tensor(np.asarray(random.randn(*shape) * 100).astype(dtype))} for name, (shape, dtype) in MODEL.items()]
    ms.save_checkpoint(entries, str(folder / f"whole.{form}"), format=form)
    return folder.parent


def shardlens(*arguments):
    subprocess.run([SHARDLENS, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def loaded(folder):
    files = sorted([*folder.rglob("*.ckpt"), *folder.rglob("*.safetensors")])
    assert files, f"{folder} holds no files"
    out = {}
    for file in files:
        for name, value in ms.load_checkpoint(str(file), format=file.suffix[1:]).items():
            array = value.asnumpy()
            out[f"{file.parent.name}/{name}"] = (str(array.dtype), array.shape, array.tobytes())
    return out


def compare(what, ours, theirs):
    wrong = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    print(f"{what}: " + (f"{len(ours)} parameters are MindSpore's" if not wrong else "differs: " + ", ".join(wrong[:12])))
    return not wrong


def both(what, source, src, dst, form="ckpt"):
    theirs, ours = ROOT / "theirs" / what, ROOT / "ours" / what
    theirs.mkdir(parents=True)
    ours.parent.mkdir(parents=True, exist_ok=True)
    ms.transform_checkpoints(str(source), str(theirs), "net_", str(src) if src else None, str(dst) if dst else None, output_format=form)
    given = (["--source-strategy", src] if src else []) + (["--strategy", dst] if dst else [])
    shardlens("convert", source, ours, "--to", "mindspore", "--verify", "--output-format", form, *given)
    found = loaded(ours)
    if not dst:  # MindSpore makes a folder of it
        found = {"rank_0/" + name.split("/", 1)[1]: value for name, value in found.items()}
    return compare(what, found, loaded(theirs)), theirs


def main():
    good = True
    one = {ranks: strategy(ROOT / f"strategy{ranks}.ckpt", layouts) for ranks, layouts in ONE_STAGE.items()}
    stages = ROOT / "stages"
    for stage, layouts in enumerate(TWO_STAGES):
        strategy(stages / f"stage{stage}.ckpt", layouts, stage)
    merged, ours = ROOT / "merged.ckpt", ROOT / "merged-here.ckpt"
    ms.merge_pipeline_strategys(str(stages), str(merged))
    shardlens("strategy", "merge", stages, ours)
    good &= compare("merged strategy", *({k: str(v) for k, v in _build_searched_strategy(str(file)).items()} for file in (ours, merged)))
    for form in ("ckpt", "safetensors"):
        source = whole(form)
        done, eight = both(f"whole to 8 {form}", source, None, one[8], form)
        good &= done
        for what, src, dst in (("8 to 4", one[8], one[4]), ("8 to 2", one[8], one[2]), ("8 to two stages", one[8], merged), ("8 to whole", one[8], None)):
            good &= both(f"{what} {form}", eight, src, dst, form)[0]
        done, staged = both(f"whole to two stages {form}", source, None, merged, form)
        good &= done & both(f"two stages to 8 {form}", staged, merged, one[8], form)[0]
    return 0 if good else 1


sys.exit(main())
