"""scan_imports.py SHARDLENS [COUNT]: random opcode streams, run by CPython's own unpickler with a hook that records every import and gives an inert
object instead. `shardlens scan` must have seen each of them. Standard library only; nothing is imported by the streams."""

import io
import json
import pickle
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ["os", "sys", "a.b", "mylib", "collections", "system", "f", "Klass", "x.y", "__class__"]


class Inert:
    def __new__(cls, *arguments, **named):
        return object.__new__(cls)

    def __init__(self, *arguments, **named):
        pass

    def __call__(self, *arguments, **named):
        return Inert()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    extend = add = append

    def __setitem__(self, key, value):
        pass


class Recorder(pickle.Unpickler):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = []

    def find_class(self, module, name):
        self.seen.append((module, name))
        return Inert

    def persistent_load(self, pid):
        return Inert()


def text(dice):
    raw = dice.choice(NAMES).encode()
    return dice.choice([b"\x8c" + bytes([len(raw)]) + raw, b"X" + struct.pack("<I", len(raw)) + raw, b"U" + bytes([len(raw)]) + raw, b"S'" + raw + b"'\n", b"V" + raw + b"\n"])


def lines(dice):
    return dice.choice(NAMES).encode() + b"\n" + dice.choice(NAMES).encode() + b"\n"


def opcode(dice):
    makers = {
        lambda: b"c" + lines(dice): 12,
        lambda: text(dice): 14,
        lambda: b"\x93": 10,
        lambda: dice.choice([b"R", b"\x81", b"b", b"o", b"\x92"]): 8,
        lambda: b"i" + lines(dice): 4,
        lambda: dice.choice([b"q", b"h"]) + bytes([dice.randrange(4)]): 12,
        lambda: b"\x94": 4,
        lambda: dice.choice([b"(", b"(", b"t", b"l", b"d", b"1", b"\x85", b"\x86", b"\x87"]): 10,
        lambda: dice.choice([b")", b"]", b"}", b"N", b"\x8f", b"K\x05", b"\x88"]): 8,
        lambda: dice.choice([b"0", b"0", b"2"]): 8,
        lambda: dice.choice([b"a", b"s", b"e", b"u", b"\x90", b"\x91", b"Q", b"g1\n", b"p1\n"]): 6,
        lambda: b"\x80" + bytes([dice.randrange(6)]): 2,
    }
    return dice.choices(list(makers), list(makers.values()))[0]()


def imports_of(stream):
    recorder = Recorder(io.BytesIO(stream))
    try:
        recorder.load()
    except Exception:  # most streams break off: what they imported before counts
        pass
    return recorder.seen


def main():
    program, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5000
    dice = random.Random(20)
    with tempfile.TemporaryDirectory() as folder:
        expected = {}
        for i in range(count):
            stream = b"\x80" + bytes([dice.randrange(6)]) + b"".join(opcode(dice) for _ in range(dice.randrange(2, 30))) + b"."
            (Path(folder) / f"{i}.pkl").write_bytes(stream)
            expected[f"{i}.pkl"] = (stream, imports_of(stream))
        answer = json.loads(subprocess.run([program, "scan", folder, "--json"], capture_output=True, check=False).stdout)
    found = {}
    for row in answer["streams"]:
        found.setdefault(row["file"], set()).update((one["raw_module"], one["raw_name"]) for one in row["imports"])
    missed = [(stream, one) for name, (stream, seen) in expected.items() for one in seen if one not in found.get(name, set())]
    for stream, one in missed[:10]:
        print(f"CPython imports {one}, the scan does not say so: {stream!r}")
    total = sum(len(seen) for _, seen in expected.values())
    print(f"{count} streams, {total} imports, {len(missed)} missed")
    return 1 if missed or total < count // 10 else 0


if __name__ == "__main__":
    sys.exit(main())
