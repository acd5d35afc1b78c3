"""Figures in sentences."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """1 message, 1,909 messages: the noun, whose plural ends in s, as the number wants it."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
