"""SR content items that TID 1500's templates leave to us, one function a value type: names and values in, items out.

Every concept comes by its name from models/shared/codes.csv; the templates themselves are highdicom's.
"""

from collections.abc import Iterable
from typing import TypeVar

import highdicom.sr as hd
import numpy as np
from highdicom.sr import RelationshipTypeValues as Relationship
from numpy.typing import NDArray

from models.shared.codes import code
from operators.domain.messages import Region

Item = TypeVar("Item")
_NUMBER_DIGITS = 4
_PERCENT_DIGITS = 2


def concept(name: str) -> hd.CodedConcept:
    """Return the coded concept of that name."""
    found = code(name)
    return hd.CodedConcept(
        value=found.value, scheme_designator=found.scheme, meaning=found.meaning, scheme_version=found.version
    )


def container(name: str, children: Iterable[hd.ContentItem]) -> hd.ContainerContentItem:
    """CONTAINER within its parent by CONTAINS."""
    return with_children(hd.ContainerContentItem(name=concept(name), relationship_type=Relationship.CONTAINS), children)


def root(name: str, children: Iterable[hd.ContentItem]) -> hd.ContainerContentItem:
    """CONTAINER at the root of a document."""
    return with_children(hd.ContainerContentItem(name=concept(name)), children)


def text(name: str, value: str, relationship: Relationship = Relationship.CONTAINS) -> hd.TextContentItem:
    """TEXT."""
    return hd.TextContentItem(name=concept(name), value=value, relationship_type=relationship)


def coded(name: str, value: str, relationship: Relationship = Relationship.CONTAINS) -> hd.CodeContentItem:
    """CODE; `value` is the name of a concept too."""
    return hd.CodeContentItem(name=concept(name), value=concept(value), relationship_type=relationship)


def number(name: str, value: float, unit: str, relationship: Relationship) -> hd.NumContentItem:
    """NUM, to four digits after the point."""
    return hd.NumContentItem(
        name=concept(name), value=rounded(value), unit=concept(unit), relationship_type=relationship
    )


def percentage(name: str, fraction: float, relationship: Relationship) -> hd.NumContentItem:
    """NUM in percent of a fraction in [0, 1]."""
    return number(name, percent(fraction), "percent", relationship)


def percent(fraction: float) -> float | int:
    """Return a fraction as percent, to two digits after the point."""
    return rounded(round(100 * float(fraction), _PERCENT_DIGITS))


def uid(name: str, value: str, relationship: Relationship) -> hd.UIDRefContentItem:
    """UIDREF."""
    return hd.UIDRefContentItem(name=concept(name), value=value, relationship_type=relationship)


def date(name: str, value: str, relationship: Relationship) -> hd.DateContentItem:
    """DATE; `value` is DICOM DA text."""
    return hd.DateContentItem(name=concept(name), value=value, relationship_type=relationship)


def image(name: str, instance_uid: str, sop_class_uid: str, relationship: Relationship) -> hd.ImageContentItem:
    """IMAGE as a whole."""
    return hd.ImageContentItem(
        name=concept(name),
        referenced_sop_class_uid=sop_class_uid,
        referenced_sop_instance_uid=instance_uid,
        relationship_type=relationship,
    )


def composite(name: str, instance_uid: str, sop_class_uid: str) -> hd.CompositeContentItem:
    """COMPOSITE: another document."""
    return hd.CompositeContentItem(
        name=concept(name),
        referenced_sop_class_uid=sop_class_uid,
        referenced_sop_instance_uid=instance_uid,
        relationship_type=Relationship.CONTAINS,
    )


def source_image(of: Region, *, is_multi_frame: bool) -> hd.SourceImageForRegion:
    """IMAGE that a region is selected from; its frame is named for multi-frame images only (PS3.3 C.17.3.2.2)."""
    return hd.SourceImageForRegion(
        referenced_sop_class_uid=of.sop_class_uid,
        referenced_sop_instance_uid=of.instance_uid,
        referenced_frame_numbers=[of.frame_number] if is_multi_frame else None,
    )


def outline(of: Region) -> NDArray[np.float64]:
    """Rectangle as a closed polyline: (5, 2) of (column, row), the image's own coordinates (PS3.3 C.18.6.1.2)."""
    left, top, right, bottom = of.left_px, of.top_px, of.right_px, of.bottom_px
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]], dtype=np.float64)


def previous_region(of: Region, *, is_multi_frame: bool) -> hd.ScoordContentItem:
    """SCOORD that a previous finding is inferred from."""
    item = hd.ScoordContentItem(
        name=concept("image_region"),
        graphic_type=hd.GraphicTypeValues.POLYLINE,
        graphic_data=outline(of),
        relationship_type=Relationship.INFERRED_FROM,
    )
    return with_children(item, [source_image(of, is_multi_frame=is_multi_frame)])


def with_children(item: Item, children: Iterable[hd.ContentItem]) -> Item:
    """Return the item with children; an item without any has no Content Sequence."""
    listed = list(children)
    if listed:
        item.ContentSequence = hd.ContentSequence(listed)  # type: ignore[attr-defined] # highdicom ships unread types
    return item


def rounded(value: float) -> float | int:
    """Return a number as it is written: whole where it is whole, else to four digits after the point."""
    return int(value) if float(value).is_integer() else round(float(value), _NUMBER_DIGITS)
