"""Makes a screenshot small: at most 256 colours, compressed as far as zlib goes."""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST = 256  # colours of a palette
Colour = tuple[int, int, int]


def with_palette(png: bytes) -> bytes:
    """The same picture, each rare colour replaced by the nearest of the common ones."""
    width, height, size, packed = _read(png)
    lines = list(_lines(zlib.decompress(packed), width=width, height=height, size=size))
    counted = Counter(colour for line in lines for colour in line)
    palette = [colour for colour, _ in counted.most_common(MOST)]
    index = {colour: _nearest(colour, palette) for colour in counted}
    rows = b"".join(b"\0" + bytes(index[colour] for colour in line) for line in lines)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(map(bytes, palette))),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _read(png: bytes) -> tuple[int, int, int, bytes]:
    """Width, height, bytes of a pixel, and the packed pixels, of an 8-bit true colour picture."""
    at, packed = len(SIGNATURE), b""
    width = height = size = 0
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, form = struct.unpack_from(">IIBB", data)
            assert (depth, form) in {(8, 2), (8, 6)}, "a screenshot is 8-bit true colour"
            size = 3 if form == 2 else 4
        elif kind == b"IDAT":
            packed += data
        at += 12 + length
    return width, height, size, packed


def _lines(raw: bytes, *, width: int, height: int, size: int) -> Iterator[list[Colour]]:
    """Each line's colours, with PNG's five filters undone."""
    stride = width * size
    above = bytearray(stride)
    for number in range(height):
        start = number * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(line, above, kind=raw[start], size=size)
        above = line
        yield list(zip(line[0::size], line[1::size], line[2::size], strict=True))


def _unfilter(line: bytearray, above: bytearray, *, kind: int, size: int) -> None:
    if kind == 0:
        return
    for at, value in enumerate(line):
        left = line[at - size] if at >= size else 0
        up = above[at]
        corner = above[at - size] if at >= size else 0
        guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
        line[at] = (value + guess) & 255


def _paeth(left: int, up: int, corner: int) -> int:
    estimate = left + up - corner
    return min((left, up, corner), key=lambda each: abs(estimate - each))


def _nearest(colour: Colour, palette: list[Colour]) -> int:
    red, green, blue = colour
    distances = ((r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2 for r, g, b in palette)
    return min(enumerate(distances), key=lambda each: each[1])[0]
