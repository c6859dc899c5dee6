"""Tests of xmkeras/data/published.py."""

from __future__ import annotations

import hashlib
import tarfile

import pytest

from xmkeras.data.published import Published, fetch_archive, prepared_folder
from xmkeras.errors import UserError


@pytest.fixture
def archive(tmp_path) -> Published:
    """A tar archive of `jpg/a.jpg` under an address that a file copy can serve."""
    (tmp_path / "made" / "jpg").mkdir(parents=True)
    (tmp_path / "made" / "jpg" / "a.jpg").write_bytes(b"picture")
    path = tmp_path / "pictures.tgz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(tmp_path / "made" / "jpg", "jpg")
    data = path.read_bytes()
    return Published(str(path), hashlib.sha256(data).hexdigest(), len(data))


def test_an_archive_is_fetched_checked_and_unpacked(archive, tmp_path):
    target = tmp_path / "set" / "jpg"
    fetch_archive(archive, "jpg", str(target))
    assert (target / "a.jpg").read_bytes() == b"picture"


def test_what_is_there_is_not_fetched_again(tmp_path):
    (tmp_path / "jpg").mkdir()
    fetch_archive(Published("https://nowhere.invalid/a.tgz", "0" * 64, 1), "jpg", str(tmp_path / "jpg"))


def test_a_copy_beside_the_target_needs_no_network(archive, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "pictures.tgz").rename(tmp_path / "set" / "pictures.tgz")
    away = Published("https://nowhere.invalid/pictures.tgz", archive.sha256, archive.size)
    fetch_archive(away, "jpg", str(tmp_path / "set" / "jpg"))
    assert (tmp_path / "set" / "jpg" / "a.jpg").is_file()


def test_another_checksum_is_refused(archive, tmp_path):
    wrong = Published(archive.url, "0" * 64, archive.size)
    with pytest.raises(UserError, match=r"Cannot fetch .*pictures.tgz") as caught:
        fetch_archive(wrong, "jpg", str(tmp_path / "set" / "jpg"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set" / "jpg").exists()


def test_no_network_says_where_to_copy_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=f"where there is no network, copy the file to {tmp_path}"):
        fetch_archive(Published("https://nowhere.invalid/a.tgz", "0" * 64, 1), "jpg", str(tmp_path / "jpg"))


def test_another_folder_in_the_archive_is_an_error(archive, tmp_path):
    with pytest.raises(UserError, match="holds no folder 'images'"):
        fetch_archive(archive, "images", str(tmp_path / "set" / "images"))


def test_the_newest_prepared_version_of_the_first_place_counts(tmp_path):
    for version in ("1.0.0", "2.1.1"):
        (tmp_path / "b" / "flowers" / version).mkdir(parents=True)
        (tmp_path / "b" / "flowers" / version / "dataset_info.json").touch()
    (tmp_path / "a" / "flowers" / "3.0.0").mkdir(parents=True)
    found = prepared_folder("flowers", [str(tmp_path / "a"), str(tmp_path / "b")])
    assert found == str(tmp_path / "b" / "flowers" / "2.1.1")
    assert prepared_folder("birds", [str(tmp_path / "b")]) is None
