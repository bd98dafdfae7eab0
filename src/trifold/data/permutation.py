"""A shuffled order of any length that takes no memory: place to index by a keyed bijection."""

__all__ = ["mix", "permute"]

MASK = 2**64 - 1


def mix(*parts: int) -> int:
    """One well-stirred 64-bit number for a tuple of whole numbers (splitmix64 over the parts).

    Example:
        >>> mix(1, 2) == mix(1, 2), mix(1, 2) == mix(2, 1)
        (True, False)
    """
    value = 0
    for part in parts:
        value = (value + 0x9E3779B97F4A7C15 + part) & MASK
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        value ^= value >> 31
    return value


def permute(place: int, size: int, key: int) -> int:
    """The index that stands at `place` of the `key`-th shuffled order of `range(size)`.

    A four-round Feistel network over the next even power of two, walked until it lands inside (Black and Rogaway 2002).

    Example:
        >>> sorted(permute(place, 10, key=3) for place in range(10)) == list(range(10))
        True
    """
    half = max((size - 1).bit_length() + 1, 2) // 2
    low = (1 << half) - 1
    while True:
        left, right = place >> half, place & low
        for turn in range(4):
            left, right = right, left ^ (mix(key, turn, right) & low)
        place = (left << half) | right
        if place < size:
            return place
