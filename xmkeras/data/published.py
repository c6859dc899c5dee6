"""Published files: fetched, checked and unpacked through tensorflow-datasets, prepared already, or missing."""

from __future__ import annotations

import dataclasses
import glob
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence

from xmkeras.bars import progress
from xmkeras.errors import UserError

_TIMEOUT_S = 20


@dataclasses.dataclass(frozen=True)
class Published:
    """A file on the web: its address, SHA-256 in hexadecimal, and size in bytes."""

    url: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        return self.url.rsplit("/", 1)[-1]


def incomplete(name: str, missing: Sequence[str], folder: str) -> UserError:
    """The error of a data set that is not all there: what is missing, where from, where it goes, what trains now."""
    return UserError(
        f"The {name} data set is not complete: put {' and '.join(missing)} into {folder}, or say with --data_dir where "
        f"the folder {os.path.basename(folder)} lies; this command trains now on drawings that pip installs: "
        "python -m xmkeras.train --flagfile=flags/cmpm_openmoji.cfg"
    )


def fetch_archive(published: Published, member: str, target: str) -> None:
    """Unpacks the folder `member` of an archive as the folder `target`, unless that exists.

    The archive is downloaded and its checksum compared; one that lies beside `target` is taken instead.

    Raises:
        UserError: no network, a file that is not the published one, or no such folder in it.
    """
    if os.path.isdir(target):
        return
    folder = os.path.dirname(target)
    extracted = _download_and_extract(published, folder)
    source = os.path.join(extracted, member)
    if not os.path.isdir(source):
        raise UserError(f"{published.url} holds no folder {member!r}; unpack it by hand into {target}.")
    os.replace(source, target)
    shutil.rmtree(extracted)


def _download_and_extract(published: Published, folder: str) -> str:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.checksums import UrlInfo

    downloads = os.path.join(folder, "downloads")
    if not os.path.exists(os.path.join(folder, published.filename)) and not os.path.isdir(downloads):
        _require_network(published.url, folder)
    manager = tfds.download.DownloadManager(
        download_dir=downloads,
        manual_dir=folder,
        url_infos={published.url: UrlInfo(published.size, published.sha256, published.filename)},
        force_checksums_validation=True,
    )
    try:
        return str(manager.download_and_extract(published.url))
    except Exception as error:  # whatever the network, the server or the archive raises
        raise _cannot_fetch(published.url, folder, error) from error


def _require_network(url: str, folder: str) -> None:
    """Fails within seconds, where tensorflow-datasets would try again for minutes."""
    if os.path.exists(url):
        return
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return  # the server is there; what it thinks of the address shows in the download
    except OSError as error:
        raise _cannot_fetch(url, folder, error) from error


def _cannot_fetch(url: str, folder: str, error: Exception) -> UserError:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return UserError(f"Cannot fetch {url} ({reason}); where there is no network, copy the file to {folder}.")


def prepared_folder(name: str, data_dirs: list[str]) -> str | None:
    """The folder of the newest version of the set `name` that tensorflow-datasets has prepared, or None."""
    for data_dir in data_dirs:
        found = sorted(glob.glob(os.path.join(os.path.expanduser(data_dir), name, "*", "dataset_info.json")))
        if found:
            return os.path.dirname(found[-1])
    return None


def extract_images(prepared: str, target: str) -> None:
    """Writes the images of a prepared set, encoded as they are, to `target/<file_name>`, whole or not at all.

    Args:
        prepared: folder of a set with the features `image` and `file_name`.
        target: folder that does not exist yet.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(prepared)
    partial = f"{target}.{os.getpid()}.partial"
    os.makedirs(partial)
    for split, info in builder.info.splits.items():
        examples = builder.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()})
        for example in progress(tfds.as_numpy(examples), info.num_examples, f"extracting {split}"):
            name = os.path.basename(example["file_name"].decode())
            with open(os.path.join(partial, name), "wb") as file:
                file.write(example["image"])
    os.replace(partial, target)
