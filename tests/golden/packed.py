"""Packs the golden Llama's matrices into 8 and 4 bits with numpy: packed/ is read by tests/golden_packed.rs.

    python packed.py

packed.safetensors holds matrices alternately in 8 bits (symmetric) and in 4 bits (scale and minimum of each block's whole range);
unpacked.safetensors the same numbers in f32. sparse.safetensors holds the projections in 8 bits or f16 without the 40 % of
least magnitude, whose places a mask of bits leaves out, and thinned.safetensors the same numbers in f32 with zeros. Matrices whose rows are no whole blocks of 32 become f16.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

BLOCK = 32
SPARSITY = 0.4


def int8(matrix):
    blocks = matrix.reshape(-1, BLOCK)
    scale = (np.abs(blocks).max(1) / 127).astype(np.float16)
    q = np.clip(np.rint(blocks / scale[:, None].astype(np.float32)), -127, 127).astype(np.int8)
    return {"": q.reshape(matrix.shape), ".scale": scale}, q * scale[:, None].astype(np.float32)


def int4(matrix):
    blocks = matrix.reshape(-1, BLOCK)
    minimum = blocks.min(1).astype(np.float16)
    scale = ((blocks.max(1) - blocks.min(1)) / 15).astype(np.float16)
    low, step = (part[:, None].astype(np.float32) for part in (minimum, scale))
    q = np.clip(np.rint((blocks - low) / step), 0, 15).astype(np.uint8)
    packed = q[:, 0::2] | (q[:, 1::2] << 4)
    rows, width = matrix.shape
    return {"": packed.reshape(rows, width // 2), ".scale": scale, ".minimum": minimum}, q * step + low


def sparse(name, matrix, place):
    """The stored parts of a matrix without its smallest numbers, and its numbers with zeros."""
    order = np.argsort(np.abs(matrix), axis=None, kind="stable")
    kept = np.ones(matrix.size, bool)
    kept[order[: int(SPARSITY * matrix.size)]] = False
    kept = kept.reshape(matrix.shape)
    thinned = np.where(kept, matrix, 0).astype(np.float32)
    parts, numbers = int8(thinned) if place % 2 else ({"": thinned.astype(np.float16)}, thinned.astype(np.float16))
    if ".scale" in parts:
        parts[".scale"] = parts[".scale"].reshape(matrix.shape[0], -1)
        numbers = numbers.reshape(matrix.shape)
    parts[""] = parts[""][kept]
    parts[".mask"] = np.packbits(kept, axis=1, bitorder="little")
    return {name + part: values for part, values in parts.items()}, numbers.astype(np.float32)


def main():
    here = Path(__file__).parent
    out = here / "packed"
    out.mkdir(exist_ok=True)
    packed, unpacked = {}, {}
    for place, (name, tensor) in enumerate(sorted(load_file(here / "transformer/llama/model.safetensors").items())):
        if tensor.ndim < 2:
            packed[name] = unpacked[name] = tensor
        elif tensor.shape[1] % BLOCK:
            packed[name] = tensor.astype(np.float16)
            unpacked[name] = packed[name].astype(np.float32)
        else:
            parts, numbers = (int8, int4)[place % 2](tensor)
            shape = (tensor.shape[0], tensor.shape[1] // BLOCK)
            for part, values in parts.items():
                packed[name + part] = values.reshape(shape) if part else values
            unpacked[name] = numbers.reshape(tensor.shape).astype(np.float32)
    save_file(packed, out / "packed.safetensors")
    stored, thinned = {}, {}
    for place, (name, tensor) in enumerate(sorted(load_file(here / "transformer/llama/model.safetensors").items())):
        stored[name] = thinned[name] = tensor
        if "proj" in name and tensor.shape[1] % 8 == 0:
            eight_bits = place % 2 and tensor.shape[1] % BLOCK == 0
            del stored[name]
            parts, thinned[name] = sparse(name, tensor, int(eight_bits))
            stored.update(parts)
    save_file(stored, out / "sparse.safetensors")
    save_file(thinned, out / "thinned.safetensors")
    save_file(unpacked, out / "unpacked.safetensors")


if __name__ == "__main__":
    main()
