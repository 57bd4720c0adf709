"""Thousands of damaged pictures in the engine's own children: none of them ends a child.

MUTATIONS=n in the environment: so many for each format. Each picture is made from its number alone.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from img_contract.job.formats import SIGNATURE_BYTES, Format, sniff
from img_contract.job.outcome import FailureCode
from img_contract.job.resize import Resize
from img_engine.errors import EngineError
from img_engine.process.pool import Children
from img_engine.render.task import PictureLimits, Refusal, Task
from img_testing.seeds import seeds
from PIL import Image

pytestmark = pytest.mark.python_independent

EACH = int(os.environ.get("MUTATIONS", "90"))
CHILDREN = 2
CHILD_BYTES = 2**30
LIMITS = PictureLimits(pixels=64_000_000, frames=1000, memory=CHILD_BYTES, animation_pixels=500_000_000)

SEEDS = seeds()
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Limits that lengths and sides are compared with."""


def flipped(data: bytearray, chance: random.Random, _: bytes) -> None:
    for _number in range(chance.choice((1, 1, 2, 4, 16))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def overwritten(data: bytearray, chance: random.Random, _: bytes) -> None:
    width = chance.choice((1, 2, 4))
    number = chance.choice(NUMBERS) % (1 << 8 * width)
    at = chance.randrange(min(len(data), 400) if chance.random() < 0.7 else len(data))
    data[at : at + width] = number.to_bytes(width, chance.choice(("big", "little")))


def cut_off(data: bytearray, chance: random.Random, _: bytes) -> None:
    del data[chance.randrange(len(data)) :]


def doubled(data: bytearray, chance: random.Random, _: bytes) -> None:
    begin = chance.randrange(len(data))
    part = data[begin : begin + chance.randrange(1, 600)]
    data[begin:begin] = part * chance.choice((1, 1, 2, 50))


def left_out(data: bytearray, chance: random.Random, _: bytes) -> None:
    begin = chance.randrange(len(data))
    del data[begin : begin + chance.randrange(1, 200)]


def spliced(data: bytearray, chance: random.Random, other: bytes) -> None:
    data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]


def shuffled(data: bytearray, chance: random.Random, _: bytes) -> None:
    begin, length = chance.randrange(len(data)), chance.randrange(1, 64)
    data[begin : begin + length] = chance.randbytes(length)


MUTATIONS: list[Callable[[bytearray, random.Random, bytes], None]] = [
    flipped,
    overwritten,
    cut_off,
    doubled,
    left_out,
    spliced,
    shuffled,
]


def mutated(kind: Format, number: int) -> bytes:
    """The picture of that number: a seed with one to three things wrong, whose first bytes are still of the format."""
    chance = random.Random(f"{kind} {number}")
    while True:
        data = bytearray(chance.choice(SEEDS[kind]))
        for _ in range(chance.choice((1, 1, 2, 3))):
            chance.choice(MUTATIONS)(data, chance, chance.choice(SEEDS[kind]))
            if not data:
                break
        if sniff(bytes(data[:SIGNATURE_BYTES])) is kind:
            return bytes(data)


def asked(number: int) -> Resize:
    """Mostly PNG, which is quick to write; sometimes another format."""
    match number % 8:
        case 0:
            return Resize(width=16, format=Format.WEBP)  # frames stay
        case 1:
            return Resize.model_validate({"height": 12, "format": "jpeg", "metadata": "keep", "profile": "keep"})
        case 2:
            return Resize.model_validate({"width": 16, "format": "tiff", "metadata": "keep", "trim": 10})
        case 3:
            return Resize(width=16, format=Format.GIF)
        case _:
            return Resize(width=16, format=Format.PNG)


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    made = Children(CHILDREN, CHILD_BYTES, 60)
    made.wait_ready()
    yield made
    made.stop()


@pytest.mark.parametrize("kind", Format)
def test_a_mutated_picture_is_rendered_or_refused(kind: Format, children: Children, tmp_path: Path) -> None:
    def fault(number: int) -> str | None:
        """Return what went wrong with that picture, which is then left where it is."""
        source, target = tmp_path / str(number), tmp_path / f"{number}.result"
        source.write_bytes(mutated(kind, number))
        task = Task(source, kind, asked(number), target, LIMITS)
        try:
            result = children.render(task, lambda _: None)
        except (EngineError, OSError) as error:
            return f"{source}: {error!r}"
        if isinstance(result, Refusal):
            if not result.failure.code or result.failure.code is FailureCode.TOO_SLOW:
                return f"{source}: {result.failure}"
        else:
            for one in result.files:
                with Image.open(one.path) as image:
                    image.load()
                    assert image.size == (one.width, one.height)
                one.path.unlink()
        source.unlink()
        return None

    with ThreadPoolExecutor(CHILDREN + 1) as slots:
        faults = [found for found in slots.map(fault, range(EACH)) if found]
    assert faults == [], "\n".join(faults)
