"""An activation kind of one's own: halfway between the pair's own activation and another prompt's."""

from plateau_lens import kind


@kind("halfway")
def halfway(block):
    """Halfway between the base and another prompt's activation."""
    return (block.base + block.other) / 2
