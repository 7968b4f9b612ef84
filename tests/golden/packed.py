"""Packs the golden Llama's matrices into 8 and 4 bits with numpy: packed/ is read by tests/golden_packed.rs.

    python packed.py

packed.safetensors holds matrices in turn in 8 bits with a scale, in 4 with a scale and a minimum, in 8 with both, in 4 with a scale, always of each block's whole range;
unpacked.safetensors the same numbers in f32. sparse.safetensors holds the projections in 8 bits or f16 without the 40 % of
least magnitude, whose places a mask of bits leaves out, and thinned.safetensors the same numbers in f32 with zeros. Matrices whose rows are no whole blocks of 32 become f16.
"""

import itertools
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

BLOCK = 32
SPARSITY = 0.4


def in_half(numbers):
    """As stored, and as a column to compute with."""
    numbers = numbers.astype(np.float16)
    return numbers, numbers[:, None].astype(np.float32)


def two_in_a_byte(q, matrix):
    rows, width = matrix.shape
    q = q.astype(np.uint8) & 15
    return (q[:, 0::2] | (q[:, 1::2] << 4)).reshape(rows, width // 2)


def symmetric(matrix, most):
    blocks = matrix.reshape(-1, BLOCK)
    scale, step = in_half(np.abs(blocks).max(1) / most)
    q = np.clip(np.rint(blocks / step), -most, most).astype(np.int8)
    stored = q.reshape(matrix.shape) if most > 7 else two_in_a_byte(q, matrix).view(np.int8)
    return {"": stored, ".scale": scale}, q * step


def affine(matrix, most):
    blocks = matrix.reshape(-1, BLOCK)
    minimum, low = in_half(blocks.min(1))
    scale, step = in_half((blocks.max(1) - blocks.min(1)) / most)
    q = np.clip(np.rint((blocks - low) / step), 0, most).astype(np.uint8)
    stored = q.reshape(matrix.shape) if most > 15 else two_in_a_byte(q, matrix)
    return {"": stored, ".scale": scale, ".minimum": minimum}, q * step + low


KINDS = [(symmetric, 127), (affine, 15), (affine, 255), (symmetric, 7)]


def sparse(name, matrix, place):
    """The stored parts of a matrix without its smallest numbers, and its numbers with zeros."""
    order = np.argsort(np.abs(matrix), axis=None, kind="stable")
    kept = np.ones(matrix.size, bool)
    kept[order[: int(SPARSITY * matrix.size)]] = False
    kept = kept.reshape(matrix.shape)
    thinned = np.where(kept, matrix, 0).astype(np.float32)
    parts, numbers = symmetric(thinned, 127) if place % 2 else ({"": thinned.astype(np.float16)}, thinned.astype(np.float16))
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
    packed, unpacked, kinds = {}, {}, itertools.cycle(KINDS)
    for name, tensor in sorted(load_file(here / "transformer/llama/model.safetensors").items()):
        if tensor.ndim < 2:
            packed[name] = unpacked[name] = tensor
        elif tensor.shape[1] % BLOCK:
            packed[name] = tensor.astype(np.float16)
            unpacked[name] = packed[name].astype(np.float32)
        else:
            kind, most = next(kinds)
            parts, numbers = kind(tensor, most)
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
