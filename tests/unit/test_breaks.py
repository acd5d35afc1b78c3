"""The drills' tests find in gorgond's files the text that they replace, so that a change of these files fails soon."""

from __future__ import annotations

import pytest

from tests.integration.breaks import BREAKS
from tests.programs import ROOT


@pytest.mark.parametrize("fault", BREAKS)
def test_what_is_broken_on_purpose_is_there(fault: str) -> None:
    for file, texts in BREAKS[fault].texts.items():
        text = (ROOT / file).read_text()
        for sound, _ in texts:
            assert sound in text, file
