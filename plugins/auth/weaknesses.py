"""Says what should not be so about keys and networks in production."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from core.plugin import Weakness
from plugins.auth.bootstrap import FILE_NAME
from plugins.auth.config import VARIABLE, AuthConfig

LEAST_BITS = 96.0
WORDS = ("change", "example", "secret", "password", "plantroom", "123456", "abcdef", "qwerty", "admin", "default")
MAKE_ONE = "make another one by `openssl rand -hex 32`"
OTHERS = 0o077


def weaknesses(config: AuthConfig, data_dir: Path) -> Iterator[Weakness]:
    """Name a key that can be guessed or read, and figures that everybody may see."""
    if config.bootstrap is not None:
        text = config.bootstrap.reveal()
        if any(word in text.lower() for word in WORDS):
            yield Weakness(f"the environment's {VARIABLE} has a word in it that anybody would try", MAKE_ONE)
        elif bits_in(text) < LEAST_BITS:
            yield Weakness(f"the environment's {VARIABLE} repeats itself, and can be guessed", MAKE_ONE)
    file = data_dir / FILE_NAME
    if file.exists() and file.stat().st_mode & OTHERS:
        yield Weakness(f"others than Plantroom may read the first admin's key in {file}", f"chmod 600 {file}")
    for index, each in enumerate(config.metrics.networks):
        network = ipaddress.ip_network(each)
        if network.prefixlen == 0:
            yield Weakness(
                "everybody may read the house's figures without a key", "name the networks of who scrapes them",
                ("metrics", "networks", index),
            )  # fmt: skip


def bits_in(text: str) -> float:
    """Estimate how many bits there are to guess, by how often each character and each pair of them comes."""
    pairs = [text[at : at + 2] for at in range(len(text) - 1)]
    return min(_bits(Counter(text)), _bits(Counter(pairs)))


def _bits(counts: Counter[str]) -> float:
    total = counts.total()
    return -sum(count * math.log2(count / total) for count in counts.values())
