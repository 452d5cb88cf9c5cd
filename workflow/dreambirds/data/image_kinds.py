"""Recognize what a file is by its first bytes. Imports neither torch nor Pillow."""

HEAD = 512  # bytes from which `kind_of` recognizes a file
PICTURES = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "HEIF", "TIFF", "JPEG2000", "PPM")
"""Formats of photographs, by Pillow's name; MPO is JPEG, and HEIF needs the library pi-heif.

Pillow's other decoders start programs (EPS), recognize almost any file (TGA), or read no photographs.
"""
RAW = "a camera's raw file"
TEXT = "text"
RAW_SUFFIXES = (".3fr", ".arw", ".cr2", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".nef", ".nrw", ".pef", ".sr2", ".srw")
SIGNATURES = {  # the first bytes of a file, and what it is
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"IIRO": RAW,
    b"IIRS": RAW,
    b"IIU\0": RAW,
    b"FUJIFILMCCD-RAW": RAW,
    b"FOVb": RAW,
    b"\0MRM": RAW,
    b"\xff\x0a": "a JPEG XL image; convert it to JPEG or PNG",
    b"\0\0\0\x0cJXL ": "a JPEG XL image; convert it to JPEG or PNG",
    b"8BPS": "a Photoshop document; export it as JPEG or PNG",
    b"gimp xcf": "a GIMP document; export it as JPEG or PNG",
    b"%PDF": "a PDF document",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"\x1aE\xdf\xa3": "a video",
    b"\0\0\x01\xba": "a video",
    b"\0\0\x01\xb3": "a video",
    b"FLV\x01": "a video",
    b"0&\xb2u\x8ef\xcf\x11": "a video",
    b"ID3": "a sound",
    b"OggS": "a sound",
    b"fLaC": "a sound",
    b"PK\x03\x04": "an archive; unpack it",
    b"PK\x05\x06": "an archive; unpack it",
    b"\x1f\x8b": "an archive; unpack it",
    b"7z\xbc\xaf'\x1c": "an archive; unpack it",
    b"Rar!\x1a\x07": "an archive; unpack it",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"\0\x05\x16\x07": "a companion file of macOS",
    b"\0\0\0\x01Bud1": "a companion file of macOS",
    b"version https://git-lfs": "a Git LFS pointer; run `git lfs pull`",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SIMPLE  =": "a FITS file",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"#!": "a program",
}
BITMAP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes


def kind_of(head: bytes, name: str = "") -> str:
    """Return what a file is: an element of `PICTURES`, a description such as ``a video``, or '' if it is unknown.

    `head` are its first `HEAD` bytes. Its `name`, if given, distinguishes raw files of cameras from the TIFF that they
    are built on.
    """
    found = _container(head) or next((kind for start, kind in SIGNATURES.items() if head.startswith(start)), "")
    if found == "TIFF" and (head[8:10] == b"CR" or name.lower().endswith(RAW_SUFFIXES)):
        return RAW
    return found or (TEXT if _is_text(head) else "")


def _container(head: bytes) -> str:
    """Return the kind of a file whose content is named after its first bytes."""
    if head[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "a video", b"WAVE": "a sound"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return _media(head[8 : max(12, min(int.from_bytes(head[:4], "big"), len(head)))])
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS:
        return "BMP"
    return "PPM" if head[:1] == b"P" and head[1:2] in b"123456f" and head[2:3].isspace() else ""


def _media(brands: bytes) -> str:
    """Return the kind of a file of the family of MPEG-4 by its brands, of four bytes each."""
    found = {brands[start : start + 4] for start in range(0, len(brands), 4)}
    if found & {b"avif", b"avis"}:
        return "AVIF"
    if found & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
        return "HEIF"
    if b"crx " in found:
        return RAW
    return "a sound" if b"M4A " in found else "a video"


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    text = head.decode("utf-8", errors="ignore")
    complete = len(text.encode()) >= len(head) - 3  # the last character may be cut
    return complete and all(character.isprintable() or character.isspace() for character in text)
