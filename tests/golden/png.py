"""PNG files of every kind that is read, with their pixels by Pillow: png.json is read by crates/trainer/src/png.rs.

    pip install pillow==12.*
    python tests/golden/png.py

Pillow's encoder chooses filters itself; one file has all five in turn and one 16 bits, both packed here. Pixels are red, green and blue on white. `sheet` is the SHA-256 of the
pixels of the emojis of data/.
"""

import hashlib
import io
import json
import random
import struct
import zlib
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
SIZE = (9, 7)


def on_white(picture):
    """As PNG's own formula, rounded to the nearest."""
    def mixed(pixel):
        return [(value * pixel[3] + 255 * (255 - pixel[3]) + 127) // 255 for value in pixel[:3]]

    rgba = picture.convert("RGBA")
    return [value for y in range(rgba.height) for x in range(rgba.width) for value in mixed(rgba.getpixel((x, y)))]


def smooth(bands, coins):
    """Slopes with a little noise, for which filters differ."""
    picture = bytearray()
    for y in range(SIZE[1]):
        for x in range(SIZE[0]):
            picture += bytes((20 * x + 25 * y * (band + 1) + coins.randrange(9)) % 256 for band in range(bands))
    return bytes(picture)


def saved(picture, **options):
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def packed(bits, raw, filters):
    """A file of red, green and blue whose rows have these filters, by the specification's formulas."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    back, length = 3 * bits // 8, 3 * bits // 8 * SIZE[0]
    rows = [raw[start : start + length] for start in range(0, len(raw), length)]
    stored = b""
    for place, row in enumerate(rows):
        up = rows[place - 1] if place else bytes(length)
        kind = filters[place % len(filters)]
        stored += bytes([kind])
        for i, value in enumerate(row):
            a, b, c = (row[i - back], up[i], up[i - back]) if i >= back else (0, up[i], 0)
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            stored += bytes([(value - (0, a, b, (a + b) // 2, paeth)[kind]) % 256])
    header = struct.pack(">IIBBBBB", *SIZE, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(stored)) + chunk(b"IEND", b"")


def main():
    coins = random.Random(1)
    made = {mode: Image.frombytes(mode, SIZE, smooth(len(mode), coins)) for mode in ("L", "LA", "RGB", "RGBA")}
    made["1"] = made["L"].convert("1")
    colors = made["RGB"].quantize(60)
    made["P"] = colors
    files = [(mode, saved(picture)) for mode, picture in made.items()]
    for bits in (1, 2, 4):
        few = made["RGB"].quantize(2**bits)
        files.append((f"P{bits}", saved(few, bits=bits)))
    files.append(("P with transparency", saved(colors, transparency=bytes([0, 100, 200]))))
    raw = smooth(3, coins)
    files.append(("RGB with every filter", packed(8, raw, [4, 3, 2, 1, 0, 3])))
    # Pillow rounds 16 bits down to their upper half as we do.
    wide = bytes(value for upper in raw for value in (upper, coins.randrange(256)))
    files.append(("RGB of 16 bits", packed(16, wide, [3, 4])))
    rows = []
    for kind, data in files:
        with Image.open(io.BytesIO(data)) as again:
            rows.append({"kind": kind, "file": list(data), "pixels": on_white(again)})
    with Image.open(HERE / "../../data/emoji_sheet_32_q256.png") as sheet:
        digest = hashlib.sha256(bytes(on_white(sheet))).hexdigest()
    (HERE / "png.json").write_text(json.dumps({"files": rows, "sheet": digest}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
