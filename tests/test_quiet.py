"""TensorFlow's start-up notes stay off the terminal; a person's errors do not."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = "from xmkeras import quiet; quiet.import_tensorflow(); import sys, tensorflow; print('mine', file=sys.stderr)"


def _stderr(**environment: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | environment
    return subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, check=True).stderr


def test_only_what_the_program_says_is_heard():
    assert _stderr() == "mine\n"


def test_the_notes_can_be_asked_for():
    assert len(_stderr(XMKERAS_TF_NOTES="1", TF_CPP_MIN_LOG_LEVEL="0").splitlines()) > 1
