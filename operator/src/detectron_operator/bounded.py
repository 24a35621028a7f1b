"""Reading what others send, as far as it is not too large."""

from __future__ import annotations

import aiohttp


class TooLargeError(ValueError):
    """There is more to read than is taken in."""


async def read(stream: aiohttp.StreamReader, at_most: int) -> bytes:
    """All that the stream has.

    Raises:
        TooLargeError: it has more than `at_most` bytes; the rest is left unread.
    """
    content = bytearray()
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) > at_most:
            raise TooLargeError(f"there are more than {at_most} bytes")
    return bytes(content)


async def body(answer: aiohttp.ClientResponse, at_most: int | None) -> bytes:
    """An answer's body, whole where there is no bound; raises as `read` does, and lets the connection go."""
    if at_most is None:
        return await answer.read()
    async with answer:
        return await read(answer.content, at_most)
