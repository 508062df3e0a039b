"""The Merkle tree of the log: which nodes a root or a proof is made of, and whether a proof holds.

Hashes are those of RFC 9162 2.1.1 (RFC 6962 2.1), tiles those of C2SP tlog-tiles: of height 8, so a tile of level L
holds up to 256 hashes of nodes of level 8 L. Nothing here reads a database: nodes and tiles are named, and whoever has
their hashes hands them in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, Self

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
HASH = 32  # bytes
# RFC 9162 2.1.1: the hash of no leaves is that of the empty string.
EMPTY_ROOT = sha256().digest()
NODE = b"\x01"
STATE = sha256(NODE)


class Unproven(ValueError):
    """A proof does not show what it was given for."""


class Node(NamedTuple):
    """The root of a perfect subtree: leaves `index * 2**level` to `(index + 1) * 2**level`, without the last."""

    level: int
    index: int  # type: ignore[assignment]  # in place of tuple.index


class Tile(NamedTuple):
    """C2SP tlog-tiles: the hashes of nodes `256 * index` and following of level `8 * level`."""

    level: int
    index: int  # type: ignore[assignment]  # in place of tuple.index


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 9162 2.1.1, of two hashes."""
    return sha256(NODE + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over perfect subtrees of falling size, from left to right: of `root_nodes` it is the tree's root."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes)) if hashes else EMPTY_ROOT


def root_nodes(size: int) -> list[Node]:
    """The perfect subtrees that a tree consists of, from left to right."""
    return _between(0, size)


def _between(start: int, end: int) -> list[Node]:
    """The perfect subtrees of MTH(D[start:end]), for a range that RFC 9162 2.1.1 splits off.

    It starts at a multiple of the largest power of two within it, so the binary digits of its length are its subtrees.
    """
    nodes = []
    for level in reversed(range((end - start).bit_length())):
        if (end - start) >> level:
            nodes.append(Node(level, start >> level))
            start += 1 << level
    return nodes


def _split(start: int, end: int) -> int:
    """RFC 9162 2.1.1: where D[start:end] divides, after the largest power of two smaller than its length."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def inclusion_nodes(index: int, size: int) -> list[list[Node]]:
    """RFC 9162 2.1.3.1: PATH(index, D[size]), for each hash the subtrees that it folds; from the leaf upwards."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of size {size} has no leaf {index}")
    groups = []
    start, end = 0, size
    while end - start > 1:
        middle = _split(start, end)
        if index < middle:
            groups.append(_between(middle, end))
            end = middle
        else:
            groups.append(_between(start, middle))
            start = middle
    return groups[::-1]


def consistency_nodes(old: int, new: int) -> list[list[Node]]:
    """RFC 9162 2.1.4.1: PROOF(old, D[new]), for each hash the subtrees that it folds.

    Empty for trees of the same size, and for an empty old tree, of which C2SP tlog-witness speaks and the RFC does not.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of size {new} never had size {old}")
    groups = []
    start, end = 0, new
    while old not in (0, end):
        middle = _split(start, end)
        if old <= middle:
            groups.append(_between(middle, end))
            end = middle
        else:
            groups.append(_between(start, middle))
            start = middle
    if start:  # else the verifier knows it: it is the old root
        groups.append(_between(start, end))
    return groups[::-1]


def range_nodes(start: int, end: int, size: int) -> tuple[list[Node], list[Node]]:
    """The perfect subtrees left and right of leaves `start` to `end`: with the range they make the root of `size`.

    These are the two ends of what github.com/transparency-dev/merkle calls a compact range.
    """
    if not 0 <= start <= end <= size:
        raise ValueError(f"a tree of size {size} has no leaves {start} to {end}")
    right, at = [], end
    while at < size:
        highest = (size - at).bit_length() - 1
        level = min(highest, (at & -at).bit_length() - 1) if at else highest
        right.append(Node(level, at >> level))
        at += 1 << level
    return root_nodes(start), right


def tile_of(node: Node) -> Tile:
    """The tile of the lowest level that the node's hash can be computed from alone, and so the smallest part of one."""
    level, rise = divmod(node.level, TILE_HEIGHT)
    return Tile(level, node.index << rise >> TILE_HEIGHT)


def tile_hash(node: Node, data: bytes) -> bytes:
    """The node's hash, from the hashes of its tile one after another. ValueError if they do not reach so far."""
    rise = node.level % TILE_HEIGHT
    first = (node.index << rise) % TILE_WIDTH
    end = first + (1 << rise)
    if len(data) < end * HASH:
        raise ValueError(f"{node} needs {end} hashes of {tile_of(node)}, given are {len(data) // HASH}")
    return _levels(data)[rise][first >> rise]


@lru_cache(128)  # the tiles above the lowest are in most proofs; some 5 MB
def _levels(data: bytes) -> list[list[bytes]]:
    """The hashes of all subtrees of a tile, from single nodes upwards."""
    levels = [[data[at : at + HASH] for at in range(0, len(data), HASH)]]
    while len(levels[-1]) > 1:
        levels.append(_above(levels[-1]))
    return levels


def _above(hashes: Iterable[bytes]) -> list[bytes]:
    """The parents of nodes of one level; a last one without a neighbour has none yet."""
    # Not node_hash: there is one for each leaf, and a call, a new state and joined bytes cost as much as their hash.
    made = []
    pairs = iter(hashes)
    for left, right in zip(pairs, pairs, strict=False):
        state = STATE.copy()
        state.update(left)
        state.update(right)
        made.append(state.digest())
    return made


def tiles_for(groups: Sequence[Sequence[Node]]) -> set[Tile]:
    """The tiles that `proof` needs."""
    return {tile_of(node) for node in chain.from_iterable(groups)}


def proof(groups: Sequence[Sequence[Node]], tiles: Mapping[Tile, bytes]) -> list[bytes]:
    """The hashes of an inclusion or consistency proof. KeyError or ValueError if a tile is missing or too short."""
    return [fold([tile_hash(node, tiles[tile_of(node)]) for node in group]) for group in groups]


def width(tile: Tile, size: int) -> int:
    """How many hashes the tile has in a tree of this size: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> TILE_HEIGHT * tile.level) - tile.index * TILE_WIDTH))


def tile_widths(size: int) -> Iterator[tuple[Tile, int]]:
    """Every tile of a tree with how many hashes it has (C2SP tlog-tiles), level by level from the leaves."""
    level = 0
    while count := size >> TILE_HEIGHT * level:
        for index in range(0, count, TILE_WIDTH):
            yield Tile(level, index // TILE_WIDTH), min(TILE_WIDTH, count - index)
        level += 1


class Frontier:
    """The right edge of a growing tree: the hashes of its perfect subtrees, which are all that appending needs."""

    def __init__(self) -> None:
        self.size = 0
        self._pending: dict[int, bytes] = {}  # of each level at most one node waits for its right neighbour

    @classmethod
    def of(cls, size: int, hashes: Sequence[bytes]) -> Self:
        """From the hashes of `root_nodes(size)`. ValueError if there are more or fewer, or one is not a hash."""
        _check_hashes(hashes)
        frontier = cls()
        nodes = root_nodes(size)
        frontier._pending = {node.level: value for node, value in zip(nodes, hashes, strict=True)}
        frontier.size = size
        return frontier

    def hashes(self) -> list[bytes]:
        """Those of `root_nodes(size)`."""
        return [self._pending[node.level] for node in root_nodes(self.size)]

    def root(self) -> bytes:
        return fold(self.hashes())

    def append(self, leaves: Sequence[bytes]) -> dict[int, list[bytes]]:
        """Add leaf hashes; what each level of tiles gains by them, in order (0: the leaves). ValueError: not hashes."""
        _check_hashes(leaves)
        gained: dict[int, list[bytes]] = {}
        level, new = 0, list(leaves)
        while new:
            if level % TILE_HEIGHT == 0:
                gained[level // TILE_HEIGHT] = new
            waiting = self._pending.pop(level, None)
            nodes = new if waiting is None else [waiting, *new]
            if len(nodes) % 2:
                self._pending[level] = nodes[-1]
            level, new = level + 1, _above(nodes)
        self.size += len(leaves)
        return gained

    def extend(self, node: Node, value: bytes) -> None:
        """Add a whole perfect subtree by its hash, as `range_nodes` names those on the right. ValueError: not next."""
        _check_hashes([value])
        level = node.level
        if node.index << level != self.size:
            raise ValueError(f"{node} does not begin at leaf {self.size}")
        self.size += 1 << level
        while (left := self._pending.pop(level, None)) is not None:
            value, level = node_hash(left, value), level + 1
        self._pending[level] = value


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if not {HASH}.issuperset(map(len, hashes)):
        raise ValueError(f"a hash has {HASH} bytes")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 2.1.3.2: the leaf hash is at this index of the tree of this size and root, or Unproven.

    Size and root belong together and come from one signed checkpoint: the same proof can hold for the root under other
    sizes, in which the leaf's path has the same turns.
    """
    if not 0 <= index < size:
        raise Unproven(f"a tree of size {size} has no leaf {index}")
    _require_hashes(leaf, root, *proof)
    at, last, made = index, size - 1, leaf
    for value in proof:
        if last == 0:
            raise Unproven("the inclusion proof is too long")
        if at & 1 or at == last:
            made = node_hash(value, made)
            at, last = _risen(at, last)
        else:
            made = node_hash(made, value)
        at, last = at >> 1, last >> 1
    if last:
        raise Unproven("the inclusion proof is too short")
    if made != root:
        raise Unproven(f"the inclusion proof of leaf {index} leads to another root than that of size {size}")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 2.1.4.2: the tree of size `old` is the beginning of that of size `new`, or Unproven.

    An empty tree begins every other; its root must be EMPTY_ROOT and the proof empty.
    """
    if not 0 <= old <= new:
        raise Unproven(f"a tree of size {new} never had size {old}")
    _require_hashes(old_root, new_root, *proof)
    for size, root in ((old, old_root), (new, new_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise Unproven("the root of an empty tree is the hash of nothing")
    if old in (0, new):
        if proof:
            raise Unproven("the consistency proof is too long")
        if old == new and old_root != new_root:
            raise Unproven(f"there are two roots of size {old}")
        return
    made = _both(old, new, old_root, proof)
    for size, root, found in zip((old, new), (old_root, new_root), made, strict=True):
        if root != found:
            raise Unproven(f"the consistency proof leads to another root of size {size}")


def _both(old: int, new: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of both trees, as the proof has them."""
    # An old tree that is perfect is a node of the new one: its root leads the path and is not in the proof.
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise Unproven("the consistency proof is too short")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_made = new_made = path[0]
    for value in path[1:]:
        if last == 0:
            raise Unproven("the consistency proof is too long")
        if at & 1 or at == last:
            old_made, new_made = node_hash(value, old_made), node_hash(value, new_made)
            at, last = _risen(at, last)
        else:
            new_made = node_hash(new_made, value)
        at, last = at >> 1, last >> 1
    if last:
        raise Unproven("the consistency proof is too short")
    return old_made, new_made


def _risen(at: int, last: int) -> tuple[int, int]:
    """Up the right edge, past the levels at which a node has no neighbour, and so its parent is itself."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _require_hashes(*values: bytes) -> None:
    if not {HASH}.issuperset(map(len, values)):
        raise Unproven(f"a hash has {HASH} bytes")
