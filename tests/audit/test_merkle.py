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


def made(count, prefix=""):
    return [leaf_hash(f"{prefix}{number}".encode()) for number in range(count)]


LEAVES = made(1100)
# C2SP tlog-tiles gives the tiles of a tree of this size as an example.
EXAMPLE = 70_000
SMALL = 40


def hash_of(node, leaves=LEAVES):
    return mth(leaves[node.index << node.level : (node.index + 1) << node.level])


def folded(groups):
    return [merkle.fold([hash_of(node) for node in group]) for group in groups]


def tiles(leaves):
    """Every tile of the tree, cut from what a frontier said that it gained."""
    levels = {level: b"".join(hashes) for level, hashes in Frontier().append(leaves).items()}
    return {
        tile: levels[tile.level][tile.index * TILE_WIDTH * HASH :][: width * HASH]
        for tile, width in merkle.tile_widths(len(leaves))
    }


def included(index, size, leaves=LEAVES):
    return folded(merkle.inclusion_nodes(index, size))


def flips(value):
    for bit in range(0, len(value) * 8, 37):  # coprime to eight: bits of every place in a byte
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def spoilt(proof):
    """The proof with a bit flipped, a hash taken away, added, or two of them swapped."""
    for at, value in enumerate(proof):
        for flipped in flips(value):
            yield [*proof[:at], flipped, *proof[at + 1 :]]
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], value, *proof[at:]]
        if at:
            yield [*proof[: at - 1], value, proof[at - 1], *proof[at + 1 :]]
    yield [*proof, LEAVES[-1]]
    yield [LEAVES[-1], *proof]


@pytest.mark.parametrize("size", range(68))
def test_roots_and_proofs_are_those_of_rfc_6962_and_hold(size):
    leaves = LEAVES[:size]
    assert mth(leaves) == merkle.fold([hash_of(node) for node in merkle.root_nodes(size)])
    for index in range(size):
        assert path(index, leaves) == folded(merkle.inclusion_nodes(index, size))
        merkle.verify_inclusion(leaves[index], index, size, path(index, leaves), mth(leaves))
    for old in range(1, size + 1):
        assert subproof(old, leaves, True) == folded(merkle.consistency_nodes(old, size))
        merkle.verify_consistency(old, mth(leaves[:old]), size, mth(leaves), subproof(old, leaves, True))


@given(st.integers(1, 1100), st.data())
@settings(deadline=None, max_examples=50)
def test_every_leaf_is_provable_and_any_two_sizes_are_consistent(size, data):
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    root = mth(LEAVES[:size])
    proof = folded(merkle.inclusion_nodes(index, size))
    assert path(index, LEAVES[:size]) == proof
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    proof = folded(merkle.consistency_nodes(old, size))
    assert subproof(old, LEAVES[:size], True) == proof
    merkle.verify_consistency(old, mth(LEAVES[:old]), size, root, proof)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 32, 33])
def test_a_leaf_is_proved_only_in_its_place(size):
    roots = [mth(LEAVES[:each]) for each in range(SMALL)]
    for index in range(size):
        proof = included(index, size)
        for other in range(-1, SMALL):
            if other != index:
                with pytest.raises(Unproven):
                    merkle.verify_inclusion(LEAVES[index], other, size, proof, roots[size])
                with pytest.raises(Unproven):
                    merkle.verify_inclusion(LEAVES[other], index, size, proof, roots[size])
            if other != size:
                with pytest.raises(Unproven):
                    merkle.verify_inclusion(LEAVES[index], index, other, proof, roots[other])


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (5, 7), (6, 7), (3, 8), (12, 13), (32, 33)])
def test_a_spoilt_inclusion_proof_is_refused(index, size):
    proof, root = included(index, size), mth(LEAVES[:size])
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    for each in spoilt(proof):
        with pytest.raises(Unproven):
            merkle.verify_inclusion(LEAVES[index], index, size, each, root)
    for each in flips(root):
        with pytest.raises(Unproven, match="another root"):
            merkle.verify_inclusion(LEAVES[index], index, size, proof, each)
    for each in flips(LEAVES[index]):
        with pytest.raises(Unproven, match="another root"):
            merkle.verify_inclusion(each, index, size, proof, root)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 7), (6, 8), (7, 7), (8, 13), (12, 33), (32, 33)])
def test_a_spoilt_consistency_proof_is_refused(old, new):
    proof, roots = folded(merkle.consistency_nodes(old, new)), (mth(LEAVES[:old]), mth(LEAVES[:new]))
    merkle.verify_consistency(old, roots[0], new, roots[1], proof)
    for each in spoilt(proof):
        with pytest.raises(Unproven):
            merkle.verify_consistency(old, roots[0], new, roots[1], each)
    for flipped in flips(roots[0]):
        with pytest.raises(Unproven):
            merkle.verify_consistency(old, flipped, new, roots[1], proof)
    for flipped in flips(roots[1]):
        with pytest.raises(Unproven):
            merkle.verify_consistency(old, roots[0], new, flipped, proof)


def test_a_proof_has_the_length_of_its_tree_whatever_roots_are_claimed():
    """The roots are those that a proof too short or too long leads to: nothing but its length is wrong."""
    a, b, c, d, e = LEAVES[:5]
    node = merkle.node_hash
    for index, size, proof, root in ((0, 1, [b], node(b, a)), (0, 2, [], a), (1, 2, [b, c], node(c, node(b, a)))):
        with pytest.raises(Unproven, match=r"too (short|long)"):
            merkle.verify_inclusion(a, index, size, proof, root)
    old, new = node(c, a), node(c, node(a, b))
    merkle.verify_consistency(3, old, 4, new, [a, b, c])
    for sizes, roots, proof in (
        ((2, 8), (a, a), []),
        ((3, 8), (old, new), [a, b, c]),
        ((3, 4), (node(d, old), node(d, new)), [a, b, c, d]),
        ((3, 4), (node(e, node(d, old)), node(e, node(d, new))), [a, b, c, d, e]),
        ((3, 4), (a, a), []),
    ):
        with pytest.raises(Unproven, match=r"too (short|long)"):
            merkle.verify_consistency(sizes[0], roots[0], sizes[1], roots[1], proof)


@pytest.mark.parametrize("new", [2, 5, 8, 13, 33])
def test_a_tree_that_was_rewritten_is_not_consistent(new):
    other = made(new, "other ")
    for old in range(1, new):
        forked = [*other[:old], *LEAVES[old:new]]
        with pytest.raises(Unproven):
            merkle.verify_consistency(old, mth(other[:old]), new, mth(LEAVES[:new]), subproof(old, LEAVES[:new], True))
        with pytest.raises(Unproven):
            merkle.verify_consistency(old, mth(LEAVES[:old]), new, mth(forked), subproof(old, forked, True))


def test_an_empty_tree_begins_every_tree_and_needs_no_proof():
    assert merkle.consistency_nodes(0, 5) == merkle.consistency_nodes(5, 5) == merkle.consistency_nodes(0, 0) == []
    merkle.verify_consistency(0, EMPTY_ROOT, 5, mth(LEAVES[:5]), [])
    merkle.verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    for old, new, proof in ((LEAVES[0], LEAVES[1], []), (EMPTY_ROOT, LEAVES[1], [LEAVES[1]])):
        with pytest.raises(Unproven):
            merkle.verify_consistency(0, old, 5, new, proof)
    with pytest.raises(Unproven, match="hash of nothing"):
        merkle.verify_consistency(0, LEAVES[0], 0, LEAVES[0], [])


def test_a_tree_does_not_shrink():
    with pytest.raises(Unproven, match="never had"):
        merkle.verify_consistency(2, LEAVES[0], 1, LEAVES[0], [])
    with pytest.raises(Unproven, match="two roots"):
        merkle.verify_consistency(2, LEAVES[0], 2, LEAVES[1], [])
    for old, new in ((2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="never had"):
            merkle.consistency_nodes(old, new)
    for index, size in ((1, 1), (0, 0), (-1, 1)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion_nodes(index, size)
        with pytest.raises(Unproven, match="no leaf"):
            merkle.verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


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


def test_what_is_refused_leaves_a_frontier_as_it_was():
    frontier = Frontier()
    frontier.append(LEAVES[:3])
    with pytest.raises(ValueError, match="32 bytes"):
        frontier.append([LEAVES[3], b"a body, not its hash"])
    assert (3, mth(LEAVES[:3])) == (frontier.size, frontier.root())
    for size, hashes in ((3, LEAVES[:1]), (1, LEAVES[:2]), (1, [b"x"])):
        with pytest.raises(ValueError):
            Frontier.of(size, hashes)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 1024, 1100])
def test_proofs_from_tiles_are_those_by_recursion(size):
    have = tiles(LEAVES[:size])
    for number in {0, size // 3, size // 2, max(0, size - 257), size - 1}:
        for groups, expected in (
            (merkle.inclusion_nodes(number, size), path(number, LEAVES[:size])),
            (merkle.consistency_nodes(number + 1, size), subproof(number + 1, LEAVES[:size], True)),
        ):
            assert expected == merkle.proof(groups, {tile: have[tile] for tile in merkle.tiles_for(groups)})


def test_tiles_are_those_of_the_specification_s_example():
    widths = dict(merkle.tile_widths(EXAMPLE))
    assert [sum(tile.level == level for tile in widths) for level in range(3)] == [273 + 1, 1 + 1, 1]
    assert tuple(widths[Tile(*tile)] for tile in ((0, 273), (1, 0), (1, 1), (2, 0))) == (112, 256, 17, 1)
    assert dict(merkle.tile_widths(256)) == {Tile(0, 0): 256, Tile(1, 0): 1}
    assert list(merkle.tile_widths(0)) == []


def test_proofs_of_a_tree_with_three_levels_of_tiles_hold():
    leaves = made(EXAMPLE)
    have, root = tiles(leaves), mth(leaves)
    assert {len(data) // HASH for data in have.values()} == {256, 112, 17, 1}
    for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_888, EXAMPLE - 1):
        groups = merkle.inclusion_nodes(index, EXAMPLE)
        assert len(merkle.tiles_for(groups)) <= 5
        merkle.verify_inclusion(leaves[index], index, EXAMPLE, merkle.proof(groups, have), root)
        proof = merkle.proof(merkle.consistency_nodes(index + 1, EXAMPLE), have)
        merkle.verify_consistency(index + 1, mth(leaves[: index + 1]), EXAMPLE, root, proof)


def test_a_proof_says_which_part_of_a_tile_it_lacks():
    groups = merkle.inclusion_nodes(0, 300)
    have = tiles(LEAVES[:300])
    short = have | {Tile(0, 0): have[Tile(0, 0)][:-1]}
    with pytest.raises(ValueError, match="256 hashes of Tile"):
        merkle.proof(groups, short)
    with pytest.raises(KeyError):
        merkle.proof(groups, {tile: data for tile, data in have.items() if tile != Tile(0, 1)})


@given(st.integers(1, 2**62), st.data())
def test_a_proof_in_a_tree_of_any_size_needs_few_tiles_all_of_which_there_are(size, data):
    for groups in (
        merkle.inclusion_nodes(data.draw(st.integers(0, size - 1)), size),
        merkle.consistency_nodes(data.draw(st.integers(1, size)), size),
    ):
        assert len(groups) <= 63
        needed = merkle.tiles_for(groups)
        assert len(needed) <= 16
        for node in (node for group in groups for node in group):
            tile, rise = merkle.tile_of(node), node.level % 8
            # The node is within the tree, and its hashes within the part of the tile that the tree has.
            assert (node.index + 1) << node.level <= size
            assert tile.index * 256 + 256 >= (node.index + 1) << rise
            assert (node.index + 1) << rise <= size >> 8 * tile.level


def test_the_empty_tree_has_the_hash_of_nothing():
    assert sha256(b"").digest() == EMPTY_ROOT == merkle.fold([]) == Frontier().root()


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_what_is_no_hash_proves_nothing(length):
    other = bytes(length)
    for leaf, proof, root in ((other, [], other), (LEAVES[0], [other], LEAVES[0]), (LEAVES[0], [], other)):
        with pytest.raises(Unproven, match="32 bytes"):
            merkle.verify_inclusion(leaf, 0, 1, proof, root)
    for old, proof, new in ((other, [], other), (other, [], LEAVES[0]), (LEAVES[0], [other], LEAVES[0])):
        with pytest.raises(Unproven, match="32 bytes"):
            merkle.verify_consistency(1, old, 1, new, proof)
