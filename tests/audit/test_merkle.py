"""The tree against the definitions of RFC 6962 2.1, written here as they stand there."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mythos_gate.audit import merkle
from mythos_gate.audit.entry import leaf_hash
from mythos_gate.audit.merkle import EMPTY_ROOT, HASH, TILE_WIDTH, Frontier, Node, Tile, Unproven


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves):
    """RFC 6962 2.1, of leaf hashes."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256(b"").digest()
    k = split(len(leaves))
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    """RFC 6962 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, b):
    """RFC 6962 2.1.2."""
    if m == len(leaves):
        return [] if b else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], b), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def made(count):
    return [leaf_hash(str(number).encode()) for number in range(count)]


LEAVES = made(1100)


def hash_of(node, leaves=LEAVES):
    return mth(leaves[node.index << node.level : (node.index + 1) << node.level])


def folded(groups, leaves=LEAVES):
    return [merkle.fold([hash_of(node, leaves) for node in group]) for group in groups]


def tiles(size):
    """Every tile of the tree, cut from what a frontier that gained it leaf by leaf said."""
    levels = {level: b"".join(hashes) for level, hashes in Frontier().append(LEAVES[:size]).items()}
    return {
        tile: levels[tile.level][tile.index * TILE_WIDTH * HASH :][: width * HASH]
        for tile, width in merkle.tile_widths(size)
    }


@pytest.mark.parametrize("size", range(68))
def test_root_and_proofs_are_those_of_rfc_6962(size):
    leaves = LEAVES[:size]
    assert mth(leaves) == merkle.fold([hash_of(node) for node in merkle.root_nodes(size)])
    for index in range(size):
        assert path(index, leaves) == folded(merkle.inclusion_nodes(index, size))
        merkle.verify_inclusion(leaves[index], index, size, path(index, leaves), mth(leaves))
    for old in range(1, size + 1):
        assert subproof(old, leaves, True) == folded(merkle.consistency_nodes(old, size))
        merkle.verify_consistency(old, mth(leaves[:old]), size, mth(leaves), subproof(old, leaves, True))


@given(st.lists(st.integers(0, 400), max_size=5))
@settings(deadline=None)
def test_a_frontier_has_the_root_and_the_tiles_of_rfc_6962(batches):
    frontier = Frontier()
    levels: dict[int, list[bytes]] = {}
    for batch in batches:
        for level, hashes in frontier.append(LEAVES[frontier.size : frontier.size + batch]).items():
            levels.setdefault(level, []).extend(hashes)
        assert mth(LEAVES[: frontier.size]) == frontier.root()
        frontier = Frontier.of(frontier.size, frontier.hashes())
    for level, hashes in levels.items():
        count = frontier.size >> 8 * level
        assert [hash_of(Node(8 * level, index)) for index in range(count)] == hashes


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 1024, 1100])
def test_proofs_from_tiles_are_those_by_recursion(size):
    have = tiles(size)
    for number in {0, size // 2, max(0, size - 257), size - 1}:
        groups = merkle.inclusion_nodes(number, size)
        assert path(number, LEAVES[:size]) == merkle.proof(
            groups, {each: have[each] for each in merkle.tiles_for(groups)}
        )
        groups = merkle.consistency_nodes(number + 1, size)
        assert subproof(number + 1, LEAVES[:size], True) == merkle.proof(groups, have)


def test_the_tiles_of_a_tree():
    assert list(merkle.tile_widths(0)) == []
    assert list(merkle.tile_widths(513)) == [
        (Tile(0, 0), 256), (Tile(0, 1), 256), (Tile(0, 2), 1), (Tile(1, 0), 2)
    ]  # fmt: skip
    assert (Tile(2, 0), 1) in merkle.tile_widths(65536)


def test_the_empty_tree_has_the_hash_of_nothing():
    assert sha256(b"").digest() == EMPTY_ROOT == merkle.fold([]) == Frontier().root()


def test_what_is_no_hash_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier().append([LEAVES[0], b"x"])
    with pytest.raises(Unproven, match="32 bytes"):
        merkle.verify_inclusion(b"x", 0, 1, [], b"x")
