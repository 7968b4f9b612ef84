"""Packs the golden Llama's matrices into 8 and 4 bits with numpy: packed/ is read by tests/golden_packed.rs.

    python packed.py

packed.safetensors holds matrices alternately in 8 bits (symmetric) and in 4 bits (scale and minimum of each block's whole range);
unpacked.safetensors the same numbers in f32. Matrices whose rows are no whole blocks of 32 become f16.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

BLOCK = 32


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
    save_file(unpacked, out / "unpacked.safetensors")


if __name__ == "__main__":
    main()
