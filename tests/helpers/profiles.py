"""Small ICC profiles, built byte by byte as ICC.1:2010 describes them, and a HEIC file."""

import base64
import struct
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])  # to XYZ, adapted to D50
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
D50 = (0.9642, 1.0, 0.8249)


def srgb() -> bytes:
    """Return the profile of sRGB that lcms makes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def display_p3() -> bytes:
    """Return a profile with the curve of sRGB and the primaries of Display P3."""
    profile = bytearray(srgb())
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in (b"rXYZ", b"gXYZ", b"bXYZ"):
            struct.pack_into(">3i", profile, offset + 8, *_fixed(P3[:, b"rgb".index(tag[:1])]))
    return bytes(profile)


def linear_gray() -> bytes:
    """Return the profile of gray values that are proportional to the luminance."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    return _profile(b"GRAY", b"XYZ ", {b"wtpt": _xyz(D50), b"kTRC": curve})


def inks(lightness: np.ndarray) -> bytes:
    """Return a profile of CMYK inks, given the lightness L* (2, 2, 2, 2) of each ink's absence and presence."""
    table = np.full((2, 2, 2, 2, 3), 128, np.uint8)  # a* and b* are 0
    table[..., 0] = np.rint(lightness * 2.55)
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *_fixed(np.eye(3).ravel()))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + table.tobytes() + 3 * ramp
    return _profile(b"CMYK", b"Lab ", {b"A2B0": lut, b"wtpt": _xyz(D50)})


def read_back(image: Image.Image, kind: str, **options) -> BytesIO:
    """Return an image as an open file of a format such as ``JPEG``."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file


def _fixed(values) -> list[int]:
    return [round(float(value) * 65536) for value in values]


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *_fixed(values))


def _profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    offset, table, data = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, offset + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    device = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s", offset + len(data), b"none", 0x02400000, device, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", *_fixed(D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data


HEIC = base64.b64decode(  # 64x48: green on the left, red on the right
    """
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA
    AAAERAAAEAAQAAAAABoQABAAAAAAAAAJAAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA
    AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA
    AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA
    AAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAJ
    htZGF0AAAAjCgBrwT4cWTTl/Q////kSP//7CxPfIP8/tpS+y1ML/hCn9pKuWRvJLrGvMkk2ZzfUED7H4CN5VMaGQ/J+GTU5kfSiclOhALCJTOt
    rvZ1T2AT07cmzc+TJNOcFb0N/PdTlICgIwzT8KExOKAXlBONL9pF+d3WkfRrh3FrR09x3GP/0SS9XMyEIRXuhQle
"""
)
