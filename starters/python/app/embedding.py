"""Turns a text into a vector. Texts with the same words are near each other."""

import hashlib
import math
import re

#: The length of a vector. The table has the same.
DIMENSIONS = 256


def embed(text: str) -> list[float]:
    """Stands in for a model: counts the words by their hashes. Call your model here."""
    vector = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSIONS] += 1
    length = math.hypot(*vector) or 1
    return [value / length for value in vector]
