"""Image library (PS3.16 TID 1600): the compared images and what their headers say enter, a content item leaves."""

from collections.abc import Iterator

import highdicom.sr as hd
from highdicom.sr import RelationshipTypeValues as Relationship
from pydicom.dataset import Dataset

from models.shared.codes import codes
from operators.domain.messages import Image, InstanceHeader
from operators.report import tree
from operators.report.envelope import Envelope, valid_date

_CONTEXT = Relationship.HAS_ACQ_CONTEXT
_VIEWS = {"AP": "view_antero_posterior", "PA": "view_postero_anterior"}
_SIDES = {"R": "right", "L": "left", "B": "bilateral", "U": "unilateral"}


def image_library(envelope: Envelope) -> hd.ContainerContentItem:
    """Return the library: one group for the current image, one for the prior, so that they are told apart by study."""
    comparison = envelope.comparison
    groups = [_group(comparison.current_image, envelope.current_source)]
    if comparison.prior_image is not None and envelope.prior_source is not None:
        groups.append(_group(comparison.prior_image, envelope.prior_source))
    return tree.container("image_library", groups)


def _group(image: Image, source: Dataset) -> hd.ContainerContentItem:
    header = image.header
    entry = tree.image("source_image", header.instance_uid, header.sop_class_uid, Relationship.CONTAINS)
    tree.with_children(entry, [*_descriptors(header, source), *_projection(header, source)])
    return tree.container("image_library_group", [entry])


def _descriptors(header: InstanceHeader, source: Dataset) -> Iterator[hd.ContentItem]:
    """Descriptors of any image (TID 1602); those that the header does not know are left out."""
    modality = f"modality_{header.modality}"
    yield tree.coded("modality", modality if modality in codes() else "modality_OT", _CONTEXT)
    for name, day in (("study_date", header.study_date), ("acquisition_date", str(source.get("AcquisitionDate", "")))):
        if valid_date(day):
            yield tree.date(name, valid_date(day), _CONTEXT)
    if header.laterality in _SIDES:
        yield tree.coded("image_laterality", _SIDES[header.laterality], _CONTEXT)
    if header.view_position in _VIEWS:
        yield tree.coded("image_view", _VIEWS[header.view_position], _CONTEXT)
    if header.rows and header.columns:
        yield tree.number("pixel_data_rows", header.rows, "pixels", _CONTEXT)
        yield tree.number("pixel_data_columns", header.columns, "pixels", _CONTEXT)


def _projection(header: InstanceHeader, source: Dataset) -> Iterator[hd.ContentItem]:
    """Descriptors of a projection image (TID 1603); spacing at the detector, or calibrated where that is all."""
    orientation = header.patient_orientation.split("\\")
    if len(orientation) == 2 and all(orientation):
        yield tree.text("patient_orientation_row", orientation[0], _CONTEXT)
        yield tree.text("patient_orientation_column", orientation[1], _CONTEXT)
    spacing = source.get("ImagerPixelSpacing") or source.get("PixelSpacing") or []
    if len(spacing) == 2 and all(float(one) > 0 for one in spacing):
        yield tree.number("horizontal_pixel_spacing", spacing[1], "millimetre", _CONTEXT)
        yield tree.number("vertical_pixel_spacing", spacing[0], "millimetre", _CONTEXT)
