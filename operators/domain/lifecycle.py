"""When a revision takes images: receive opens and extends revisions in these states, assemble closes them.

Both do so under the lock of the study's row: an image is in one revision, and a closed revision gains no image.
"""

OPEN_STATES = ("receiving", "assembling")
"""States in which a revision still takes images."""
