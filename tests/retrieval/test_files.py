"""Atomic writes."""

import pytest

from xmkeras.retrieval.files import write_atomically


def test_a_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == 1
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
