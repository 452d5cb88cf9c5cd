"""Recognize files of weights by their content, and find the weights in a folder; without torch.

Files of another kind are refused with a sentence that names the kind, and the conversion where one is known.
"""

import json
import re
import stat
import zipfile
from pathlib import Path

from dreambirds.errors import UserError, reason_of, remedy_for

SAFETENSORS, ZIP, LEGACY = "safetensors", "zip", "legacy"  # the kinds that are read
LEGACY_MAGIC = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # begins files that torch writes without a zip archive
INDEX = ".index.json"  # the end of the name of a list of shards
PREFERRED = (
    *("model.safetensors", f"model.safetensors{INDEX}", "pytorch_model.bin", f"pytorch_model.bin{INDEX}"),
    *("pytorch_model.pth", "model.pth", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt", ".ckpt", ".bin")
STATES = "optimizer|scheduler|scaler|training_args|training_state|rng_state|random_states|sampler"  # next to weights
NOT_WEIGHTS = re.compile(rf"^({STATES}|\.)", re.IGNORECASE)

SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.(?:safetensors|bin|pt|pth)$)")

SAVE = "save `model.state_dict()` with torch.save where the network was trained"
UNPACK = "unpack it, and set the file in it"
DOWNLOAD = "download it again"
OTHER = "choose another file"
_STARTS = (  # the first bytes, what the file is, and what to do
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself", "run `git lfs pull` in its folder"),
    (b"/annex/objects/", "is a git-annex pointer, not the file itself", "run `git annex get` in its folder"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras and TensorFlow write, not weights of a torch network", SAVE),
    (b"\x93NUMPY", "is a NumPy array, not the named tensors of a network", SAVE),
    (b"\x1f\x8b", "is a gzip archive", UNPACK),
    (b"BZh", "is a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\x00", "is an xz archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", UNPACK),
    (b"Rar!", "is a rar archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "is a zstd archive", UNPACK),
    (b"GGUF", "is a GGUF file of a language model", OTHER),
    (b"\x89PNG", "is an image", OTHER),
    (b"\xff\xd8\xff", "is an image", OTHER),
    (b"%PDF", "is a PDF", OTHER),
)
_SUFFIXES = {
    ".onnx": ("is an ONNX graph, which does not have the tensor names of the torch network", SAVE),
    ".msgpack": ("is a file of Flax (JAX), not weights of a torch network", SAVE),
    ".tflite": ("is a TensorFlow Lite model, not weights of a torch network", SAVE),
    ".pb": ("is a TensorFlow graph, not weights of a torch network", SAVE),
    ".index": ("belongs to a TensorFlow checkpoint, not to weights of a torch network", SAVE),
    ".mlmodel": ("is a Core ML model, not weights of a torch network", SAVE),
}
_MEMBERS = (  # a pattern of names in a zip archive, what the file is, and what to do
    (
        r"(^|/)constants\.pkl$",
        "is a TorchScript archive",
        "torch.save(torch.jit.load({name!r}, map_location='cpu').state_dict(), 'weights.pth')",
    ),
    (
        r"(^|/)(archive_format|serialized_exported_program\.json)$",
        "is a program of torch.export",
        "torch.save(dict(torch.export.load({name!r}).state_dict), 'weights.pth')",
    ),
    (r"(^|/)model\.weights\.h5$", "is a Keras model, not weights of a torch network", SAVE),
    (
        r"\.npy$",
        "is a NumPy archive, as JAX networks are saved, not weights of a torch network",
        "import timm; m = timm.create_model('MODEL'); m.load_pretrained({name!r}); "
        "torch.save(m.state_dict(), 'weights.pth')",
    ),
)


def has_name_of_weights(path: Path) -> bool:
    """Return whether a file is named as weights are, not as the state of an optimizer or trainer, and is not hidden."""
    return path.name.lower().endswith(SUFFIXES) and not NOT_WEIGHTS.match(path.name)


def file_kind(path: Path) -> str:
    """Return the kind of a file of weights: SAFETENSORS, ZIP or LEGACY (what torch writes, with and without zip).

    Raises UserError if it is a file of another kind, or one that ends early.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
            raise UserError(f"'{path}' is {kind}, not a file; {OTHER}")
        with path.open("rb") as file:
            start = file.read(512)
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {remedy_for(error, OTHER)}") from error
    if not start:
        raise UserError(f"'{path}' is empty; {DOWNLOAD}, or {OTHER}")
    if start.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if start[0] == 0x80 and LEGACY_MAGIC in start[:64]:
        return LEGACY
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 10**8:
        return _whole_safetensors(path, int.from_bytes(start[:8], "little"), size)
    raise UserError(*_refusal(path, start))


def _whole_safetensors(path: Path, header: int, size: int) -> str:
    """Return SAFETENSORS, or raise UserError if the file is shorter than its header says, or longer."""
    expected = 8 + header
    if size >= expected:
        with path.open("rb") as file:
            file.seek(8)
            try:
                entries = json.loads(file.read(header))
                ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
                expected += max(ends, default=0)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise corrupt(path, f"its header is not that of a safetensors file, {reason_of(error)}") from error
    if size < expected:
        raise UserError(f"'{path}' ends early (it has {size} of {expected} bytes); {DOWNLOAD}, or {OTHER}")
    return SAFETENSORS


def corrupt(path: Path, reason: str) -> UserError:
    """Return the error for a file of weights that is damaged."""
    return UserError(f"'{path}' is corrupt ({reason}); {DOWNLOAD}, or {OTHER}")


def convert(code: str) -> str:
    """Return the remedy that a file is converted with a line of Python, which imports torch."""
    return f'convert it where its code is installed: python -c "import torch; {code}"'


def _zip_kind(path: Path) -> str:
    """Return ZIP for a zip archive that `torch.save` wrote; raise UserError for another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, LookupError, NotImplementedError, EOFError, OSError) as error:
        raise UserError(f"'{path}' ends early or is corrupt ({reason_of(error)}); {DOWNLOAD}, or {OTHER}") from error
    for pattern, what, remedy in _MEMBERS:
        if any(re.search(pattern, name) for name in names):
            remedy = remedy if remedy == SAVE else convert(remedy.format(name=path.name))
            raise UserError(f"'{path}' {what}; {remedy}")
    if sum(name.endswith("/data.pkl") or name == "data.pkl" for name in names) == 1:
        return ZIP
    inner = next((name for name in names if name.endswith(SUFFIXES)), names[0] if names else "nothing")
    raise UserError(f"'{path}' is a zip archive of other files (it contains '{inner}'); {UNPACK}, or {OTHER}")


def _refusal(path: Path, start: bytes) -> tuple[str]:
    """Return the message for a file that is not a file of weights, given its first bytes."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<script")):
        return (f"'{path}' is a web page, not the file that it was downloaded for; {DOWNLOAD}, or {OTHER}",)
    for magic, what, remedy in _STARTS:
        if start.startswith(magic):
            return (f"'{path}' {what}; {remedy}",)
    if start[257:262] == b"ustar":
        return (f"'{path}' is a tar archive; {UNPACK}",)
    if start[4:8] == b"TFL3":
        return (f"'{path}' {_SUFFIXES['.tflite'][0]}; {SAVE}",)
    if path.suffix.lower() in _SUFFIXES:
        what, remedy = _SUFFIXES[path.suffix.lower()]
        return (f"'{path}' {what}; {remedy}",)
    if re.match(rb"\x08[\x01-\x20]\x12.{1,64}(onnx|pytorch|tf2onnx|keras)", start, re.S | re.I):
        return (f"'{path}' {_SUFFIXES['.onnx'][0]}; {SAVE}",)
    if start[:1] == b"\x80" and 2 <= (start + b"\0")[1] <= 5:
        values = f"{{k: torch.as_tensor(v) for k, v in pickle.load(open({path.name!r}, 'rb')).items()}}"
        code = f"import pickle; torch.save({values}, 'weights.pth')"
        return (f"'{path}' is a pickle that torch did not write; {convert(code)}",)
    is_text = not re.search(rb"[^\t\n\r\x20-\x7e\x80-\xff]", start)
    reason = f"it is text: {start[:60].decode(errors='replace')!r}" if is_text else f"it begins with {start[:8]!r}"
    return (
        f"'{path}' is neither a safetensors file nor one that torch can load without running code ({reason}); {OTHER}",
    )


def weights_in(folder: Path) -> list[Path]:
    """Return the files of weights in a folder: one file, or a list of shards with its shards.

    Preferred are the names of the Hugging Face hub, as timm does; else there must be one file. Raises UserError if
    there is none, or several.
    """
    for name in PREFERRED:
        if (folder / name).is_file():
            return shards_of(folder / name) if name.endswith(INDEX) else [folder / name]
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and not NOT_WEIGHTS.match(path.name))
    if shards := [name for name in names if SHARD.search(name)]:
        return [folder / name for name in _whole_set(folder, shards)]
    for suffix in SUFFIXES:
        found = [name for name in names if name.endswith(suffix)]
        if len(found) == 1:
            return [folder / found[0]]
        if found:
            listed = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
            raise UserError(f"the folder '{folder}' contains several files of weights; set one of them ({listed})")
    raise UserError(_no_weights(folder, names))


def _whole_set(folder: Path, shards: list[str]) -> list[str]:
    """Return the names of shards, of which there is no list; raise UserError unless they are those of one file."""
    sets = {SHARD.sub("", name) for name in shards}
    total = int(SHARD.search(shards[0])[2])  # type: ignore[index]
    if len(sets) > 1 or len(shards) != total:
        raise UserError(f"the folder '{folder}' contains {len(shards)} shards of weights, not all {total}; {DOWNLOAD}")
    return shards


def check_whole(path: Path) -> None:
    """Raise UserError for a file that its name says to be one of several shards."""
    shard = SHARD.search(path.name)
    if shard and int(shard[2]) > 1:
        raise UserError(f"'{path}' is one of {int(shard[2])} shards; set the folder that contains all of them")


def shards_of(index: Path) -> list[Path]:
    """Return a list of shards, and the files that it names, each once."""
    try:
        named = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        shards = [index.parent / Path(name).name for name in named]  # never a file of another folder
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise corrupt(index, reason_of(error)) from error
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise UserError(f"'{index}' names '{missing[0]}', which does not exist; {DOWNLOAD}, or {OTHER}")
    return [index, *shards]


def _no_weights(folder: Path, names: list[str]) -> str:
    """Return the message for a folder without a file of weights."""
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir())
    code = "dcp_to_torch {0} weights.pth`"
    if (folder / ".metadata").is_file():
        convert = f"run `python -m torch.distributed.checkpoint.format_utils {code.format(folder.name)}"
        return f"the folder '{folder}' is a distributed checkpoint of torch; {convert}, and set that file"
    if "zero_to_fp32.py" in names:
        return f"the folder '{folder}' is a checkpoint of DeepSpeed; run `python zero_to_fp32.py . weights` in it"
    if "data.pkl" in names:
        return f"the folder '{folder}' is an unpacked file of torch; download the file again, and do not unpack it"
    if "saved_model.pb" in names:
        return f"the folder '{folder}' is a model of TensorFlow, not weights of a torch network; {SAVE}"
    seen = f"it contains {', '.join([*names, *inner][:4])}" if names or inner else "it is empty"
    remedy = "set one of the folders in it, or a file" if inner else "set a file"
    return f"the folder '{folder}' does not contain a file of weights ({seen}); {remedy}"
