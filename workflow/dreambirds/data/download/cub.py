"""Download CUB-200-2011: 11,788 photographs of 200 bird species.

The address is the data set's record at CaltechDATA, and the checksum is the one that public loaders of this file
contain. The environment variable `DREAMBIRDS_CUB_URL` selects another server. It must provide the same file, unless
`DREAMBIRDS_CUB_CHECKSUM` sets another checksum (``md5:…`` or ``sha256:…``).
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
ADDRESS_VARIABLE, CHECKSUM_VARIABLE = "DREAMBIRDS_CUB_URL", "DREAMBIRDS_CUB_CHECKSUM"
VARIABLES = {"address": ADDRESS_VARIABLE, "checksum": CHECKSUM_VARIABLE}
AGAIN = "delete it and run the same command again to download it"


def fetch_cub(policy: RetryPolicy = RETRIES) -> None:
    """Download CUB-200-2011 to its folder below ``resources``, unless it exists.

    The archive is kept next to the folder. An archive put there by hand is verified and not downloaded. Raises
    UserError.
    """
    target = Path(RESOURCES["cub"].place)
    archive = target.with_name(f"{target.name}.tgz")
    remote = RemoteFile(
        os.environ.get(ADDRESS_VARIABLE, ADDRESS),
        os.environ.get(CHECKSUM_VARIABLE, CHECKSUM),
        {key: name for key, name in VARIABLES.items() if name in os.environ},
    )
    with download_lock(archive):
        if RESOURCES["cub"].found():
            log.info("'%s' already exists", target)
            return
        if not archive.is_file():
            log.info("downloading '%s'", remote.address)
            download(remote, archive, policy)
        elif (found := remote.sum_of(archive)) != remote.checksum:
            raise UserError(f"'{archive}' has the checksum {found}, not {remote.checksum}; {AGAIN}")
        unpack(archive, target)
        log.info("'%s' is ready; '%s' can be deleted", target, archive)


def unpack(archive: Path, target: Path) -> None:
    """Unpack the folder named like `target` from a gzipped tar, atomically.

    Raises UserError, and writes nothing outside, if a member's path leads outside the folder, or a member is not a
    regular file, link or folder.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError(
            f"unpacking '{archive}' requires Python 3.11.4 or newer; upgrade Python, or unpack it by hand to '{target}'"
        )
    folder = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with disk_errors(folder):
            folder.mkdir(parents=True)
            _extract(archive, folder)
            if not (folder / target.name).is_dir():
                raise UserError(f"'{archive}' contains no folder '{target.name}'; {_download_again()}")
            (folder / target.name).replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    log.info("unpacking '%s'", archive)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tqdm(tar, desc="unpacking", unit=" files", disable=None):
                tar.extract(member, folder, filter=_inside)
    except tarfile.FilterError as error:
        raise UserError(f"'{archive}' is unsafe to unpack ({first_line(error)}); {_download_again()}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"'{archive}' is corrupt ({first_line(error)}); {_download_again()}") from None


def _download_again() -> str:
    """Return what to do about an archive that has the expected checksum."""
    if CHECKSUM_VARIABLE in os.environ:
        return f"delete it, correct {CHECKSUM_VARIABLE}, and run the same command again to download it"
    return AGAIN


def _inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """Apply Python's data filter, but reject absolute paths."""
    if PurePosixPath(member.name).is_absolute():
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)
