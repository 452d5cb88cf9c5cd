"""CUB-200-2011: 11,788 photographs of 200 bird species, as the California Institute of Technology publishes it.

The address is the data set's record at CaltechDATA, the sum the one that public loaders of this file carry. A mirror is
taken instead where the environment variable `DREAMBIRDS_CUB_URL` names one; it must hold the same file, unless
`DREAMBIRDS_CUB_CHECKSUM` gives another sum (``md5:…`` or ``sha256:…``).
"""

import logging
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from dreambirds.data.download.http import RETRIES, RemoteFile, RetryPolicy, disk_errors, download, download_lock
from dreambirds.data.sources.catalog import RESOURCES
from dreambirds.errors import UserError, first_line

log = logging.getLogger(__name__)
ADDRESS = "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz"
CHECKSUM = "md5:97eceeb196236b17998738112f37df78"


def fetch_cub(patience: RetryPolicy = RETRIES) -> None:
    """Bring CUB-200-2011 to its place below ``resources``, unless it is there.

    The archive stays beside it; one that was put there by hand is checked, and not fetched. Raises UserError.
    """
    place = Path(RESOURCES["cub"].place)
    archive = place.with_name(f"{place.name}.tgz")
    remote = RemoteFile(
        os.environ.get("DREAMBIRDS_CUB_URL", ADDRESS), os.environ.get("DREAMBIRDS_CUB_CHECKSUM", CHECKSUM)
    )
    with download_lock(archive):
        if RESOURCES["cub"].found():
            log.info("%s is there already", place)
            return
        if not archive.is_file():
            log.info("fetching %s", remote.address)
            download(remote, archive, patience)
        elif (found := remote.sum_of(archive)) != remote.checksum:
            raise UserError(f"{archive} has the checksum {found}, not {remote.checksum}; remove it, and it is fetched")
        unpack(archive, place)
        log.info("%s is ready; %s may be deleted", place, archive)


def unpack(archive: Path, place: Path) -> None:
    """Unpack the folder called as `place` from a gzipped tar to `place`, at once or not at all.

    Raises UserError, and writes nothing outside, if a member would lie elsewhere or is no plain file, link or folder.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError(f"Python 3.11.4 or newer is needed to unpack {archive}; or do it by hand, to {place}")
    folder = place.with_name(f"{place.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True)
            _extract(archive, folder)
            if not (folder / place.name).is_dir():
                raise UserError(f"{archive} holds no folder {place.name}")
            (folder / place.name).replace(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    log.info("unpacking %s", archive)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tqdm(tar, desc="unpacking", unit=" files", disable=None):
                tar.extract(member, folder, filter=_inside)
    except tarfile.FilterError as error:
        raise UserError(f"{archive} is not unpacked, since it is not safe: {first_line(error)}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{archive} is damaged: {first_line(error)}") from None


def _inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Refuse what Python's own filter refuses, and absolute paths too, which that one makes relative."""
    if PurePosixPath(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)
