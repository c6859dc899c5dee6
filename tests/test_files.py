"""Atomic writes, and files in installed packages."""

import errno

import pytest

from xmkeras.errors import UserError
from xmkeras.files import package_folder, write_atomically


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, 1)
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1
    write_atomically(path, "n\u00e9w")
    assert path.read_text("utf-8") == "n\u00e9w"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_cannot_be_is_said_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/report\.md cannot be written: File exists"):
        write_atomically(tmp_path / "file" / "report.md", b"text")


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_folder_of_a_package_is_found_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / "__init__.py").write_text("raise ImportError('what it needs is not there')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("brought", "") == tmp_path / "brought"
    with pytest.raises(UserError, match=r"missing: pip install away\."):
        package_folder("away", "The package is missing: pip install away.")
