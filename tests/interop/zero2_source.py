"""What a ZeRO-2 checkpoint of DeepSpeed says, read with torch alone and put together the slow way: whole vectors in memory, one parameter after
the other. Knows nothing of the project's own code."""

import pickle
import re
import types
from pathlib import Path

import torch


class Unknown:
    """Stands for an object of a class that is not installed here."""

    def __init__(self, *arguments, **named):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


class LenientUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return Unknown if module.split(".")[0] == "deepspeed" else super().find_class(module, name)


def load(path):
    lenient = types.ModuleType("lenient")
    lenient.Unpickler = LenientUnpickler
    lenient.load = lambda file, **options: LenientUnpickler(file, **options).load()
    return torch.load(path, map_location="cpu", pickle_module=lenient, weights_only=False)


class Zero2Source:
    def __init__(self, root):
        folder = Path(root) / (Path(root) / "latest").read_text().strip()
        self.model = load(folder / "mp_rank_00_model_states.pt")
        ranks = {}
        for path in folder.glob("*_optim_states.pt"):
            ranks[int(re.search(r"zero_pp_rank_(\d+)_", path.name)[1])] = load(path)["optimizer_state_dict"]
        self.ranks = [ranks[rank] for rank in range(self.model["dp_world_size"])]

    def flat(self, group, state):
        """The vector of a group: what the ranks hold, end to end."""
        if state == "fp32":
            return torch.cat([rank["single_partition_of_fp32_groups"][group] for rank in self.ranks])
        return torch.cat([rank["base_optimizer_state"]["state"][group][state] for rank in self.ranks])

    def per_parameter(self, state):
        out = {}
        for group, shapes in enumerate(self.model["param_shapes"]):
            vector, at = self.flat(group, state), 0
            gaps = self.ranks[0]["param_alignment_paddings"][group]
            for (name, shape), gap in zip(shapes.items(), gaps):
                out[name] = vector[at : at + shape.numel()].reshape(shape)
                at += shape.numel() + gap
        return out

    def with_tied(self, tensors):
        for name, kept in self.model["shared_params"].items():
            if kept in tensors:
                tensors[name] = tensors[kept]
        return tensors

    def module(self):
        return dict(self.model["module"])

    def weights(self):
        out = self.per_parameter("fp32")
        out.update({name: self.model["module"][name] for name in self.model["buffer_names"]})
        out.update(self.model["frozen_param_fragments"])
        return self.with_tied(out)

    def optimizer(self):
        out = {}
        for state in ("exp_avg", "exp_avg_sq"):
            out.update({f"{name}/{state}": tensor for name, tensor in self.per_parameter(state).items()})
        for group, shapes in enumerate(self.model["param_shapes"]):
            for name in shapes:
                out[f"{name}/step"] = self.ranks[0]["base_optimizer_state"]["state"][group]["step"]
        return out

    def everything(self):
        out = {**self.weights(), **self.optimizer()}
        trained = self.with_tied(self.per_parameter("fp32"))
        out.update({f"{name}/module": tensor for name, tensor in self.module().items() if name in trained})
        return out
