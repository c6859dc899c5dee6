"""What the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.models.plain import plain_images


@pytest.fixture
def plain_tower() -> Iterator[None]:
    """Towers that see images through one convolution: where the depth of MobileNet proves nothing."""
    with plain_images():
        yield
