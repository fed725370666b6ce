#!/usr/bin/env python3
"""quantized_load.py SHARDLENS FOLDER: weights that shardlens quantizes, taken apart by the libraries whose layouts they are in, by what our config.json says of them.

What the library gives back is compared with what `--dequantize` gives, and with the values that there were before."""
import json
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

# The least signal to noise (dB) that is to be expected of values that are normal.
COMPRESSED = {"int8-channel": 35, "int8-channel-asym": 35, "int8-tensor": 30, "int8-tensor-asym": 30, "int8-g128": 35, "int4-g32": 17, "int4-g128": 15, "fp8-tensor": 28, "fp8-channel": 28,
              "fp8-block128": 28, "mxfp4": 12, "mxfp8": 26, "nvfp4": 16}
FOUR_BITS = {"nf4": 18, "fp4": 15}


def model():
    torch.manual_seed(7)
    weights = {"embed_tokens.weight": (64, 256)}
    for layer in range(2):
        for part, shape in (("self_attn.q_proj", (128, 256)), ("self_attn.k_proj", (64, 256)), ("self_attn.v_proj", (64, 256)), ("mlp.up_proj", (320, 256)), ("mlp.down_proj", (256, 384))):
            weights[f"layers.{layer}.{part}.weight"] = shape
    return {name: (torch.randn(shape) * 0.03).to(torch.bfloat16) for name, shape in weights.items()}


def run(program, *arguments):
    done = subprocess.run([program, "convert", *map(str, arguments), "--to", "safetensors", "--overwrite"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"shardlens convert {' '.join(map(str, arguments))}: {done.stderr}")


def noise(before, after):
    before, after = before.double(), after.double()
    return float(10 * torch.log10(before.square().sum() / (before - after).square().sum().clamp_min(1e-300)))


def by_compressed_tensors(stored, config):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig
    settings = QuantizationConfig.model_validate(config)
    (scheme,) = settings.config_groups.values()
    compressor = BaseCompressor.get_value_from_registry(scheme.format or settings.format)
    modules = {name[: -len(".weight_scale")] for name in stored if name.endswith(".weight_scale")}
    out = {}
    for module in sorted(modules):
        state = {name[len(module) + 1:]: value for name, value in stored.items() if name.startswith(module + ".")}
        out[module + ".weight"] = compressor.decompress(state, scheme)["weight"]
    return out


def by_bitsandbytes(stored, config):
    import bitsandbytes.functional as bnb
    out = {}
    for name, value in stored.items():
        if config["load_in_8bit"] and name.endswith(".SCB"):
            weight = name[: -len("SCB")] + "weight"
            out[weight] = bnb.int8_vectorwise_dequant(stored[weight], value)
        elif name.endswith(f".quant_state.bitsandbytes__{config['bnb_4bit_quant_type']}"):
            weight = name[: name.index(".weight.") + len(".weight")]
            parts = {part[len(weight) + 1:]: one for part, one in stored.items() if part.startswith(weight + ".")}
            out[weight] = bnb.dequantize_4bit(stored[weight], bnb.QuantState.from_dict(parts, device=torch.device("cpu")))
    return out


def compare(scheme, source, library, ours, least):
    names = [name for name in source if name.endswith("_proj.weight")]
    if sorted(library) != sorted(names):
        sys.exit(f"{scheme}: the library finds {sorted(library)}")
    for name in names:
        if library[name].dtype != ours[name].dtype or not torch.equal(library[name], ours[name]):
            sys.exit(f"{scheme}: {name} is not what --dequantize gives ({library[name].dtype}, {ours[name].dtype})")
        found = noise(source[name], ours[name])
        if not found > least:
            sys.exit(f"{scheme}: {name} came back with {found:.1f} dB")
    if not torch.equal(ours["embed_tokens.weight"], source["embed_tokens.weight"]):
        sys.exit(f"{scheme}: the embedding changed")
    print(f"{scheme}: {len(names)} weights as the library reads them")


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    source = model()
    (folder / "model").mkdir()
    save_file(source, folder / "model/model.safetensors", metadata={"format": "pt"})
    (folder / "model/config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama"}))
    wanted = dict(COMPRESSED) | dict(FOUR_BITS) | {"llm-int8": 35}
    for scheme, least in wanted.items():
        made, back = folder / scheme, folder / (scheme + "-back")
        run(program, folder / "model", made, "--quantize", scheme)
        run(program, made, back, "--dequantize")
        stored = {}
        for file in made.glob("*.safetensors"):
            stored |= load_file(file)
        config = json.loads((made / "config.json").read_text())
        if config.get("model_type") != "llama":
            sys.exit(f"{scheme}: the model's own config.json is lost")
        if "quantization_config" in json.loads((back / "config.json").read_text()):
            sys.exit(f"{scheme}: values still claim to be codes")
        library = (by_compressed_tensors if scheme in COMPRESSED else by_bitsandbytes)(stored, config["quantization_config"])
        compare(scheme, source, library, load_file(back / "model.safetensors"), least)


main()
