"""Finding groups (PS3.16 TID 1410): a FindingGroup enters, its measurement group leaves."""

import highdicom.sr as hd
from highdicom.sr import RelationshipTypeValues as Relationship

from models.shared.codes import change_code, presence_code
from operators.domain.messages import ChangeState, Comparison, EntityFinding, Image, Presence, Region
from operators.report import tree
from operators.report.content import FindingGroup, UnassessedImage, dated


def finding_group(group: FindingGroup, comparison: Comparison) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the measurement group of one entity.

    Rows of TID 1410/1501: tracking identifier and UID, finding, finding site, algorithm, time point, probability,
    region, qualitative evaluations. What stood on the prior and the change since then follow as evaluations, each with
    the evidence it was inferred from.
    """
    finding = group.finding
    image = comparison.prior_image if group.is_on_prior and comparison.prior_image else comparison.current_image
    bundle = comparison.bundle
    item = hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid=group.tracking_uid, identifier=group.tracking_identifier),
        referenced_region=_region(group.region, image),
        finding_type=tree.concept(finding.entity.finding_code),
        finding_sites=[hd.FindingSite(anatomic_location=tree.concept(finding.entity.site_code))],
        algorithm_id=hd.AlgorithmIdentification(name=bundle.name, version=bundle.version),
        time_point_context=_time_point(comparison),
        measurements=[
            hd.Measurement(
                name=tree.concept("probability"),
                value=tree.percent(finding.stated_prob),
                unit=tree.concept("percent"),
            )
        ],
        qualitative_evaluations=[
            hd.QualitativeEvaluation(
                name=tree.concept("presence_of_property"),
                value=tree.concept(presence_code(finding.current).name),
            )
        ],
    )
    container = item[0]
    container.ObservationUID = group.observation_uid
    container.ContentSequence.extend(_comparison_items(group, comparison))
    return item


def unassessed_group(
    unassessed: UnassessedImage, comparison: Comparison
) -> hd.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the one group of a draft whose model was measured on nothing: the image, the model, and "undetermined".

    TID 1500 wants a group; this one holds no finding, no site and no number, for there are none to give.
    """
    bundle = comparison.bundle
    item = hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(
            uid=unassessed.tracking_uid, identifier=unassessed.tracking_identifier
        ),
        referenced_region=_region(unassessed.region, comparison.current_image),
        algorithm_id=hd.AlgorithmIdentification(name=bundle.name, version=bundle.version),
        time_point_context=_time_point(comparison),
        qualitative_evaluations=[
            hd.QualitativeEvaluation(
                name=tree.concept("presence_of_property"),
                value=tree.concept(presence_code(Presence.UNDETERMINED).name),
            )
        ],
    )
    item[0].ObservationUID = unassessed.observation_uid
    return item


def _comparison_items(group: FindingGroup, comparison: Comparison) -> list[hd.ContentItem]:
    if group.change is None:
        return []
    finding = group.finding
    change = tree.coded("qualitative_difference", change_code(group.change).name)
    said = [tree.text("description_of_change", describe_change(finding), Relationship.HAS_PROPERTIES)]
    if group.change is not ChangeState.UNDETERMINED:
        said.append(tree.percentage("certainty_of_finding", finding.confidence, Relationship.HAS_PROPERTIES))
    tree.with_children(change, said)
    if finding.prior is None or finding.prior_prob is None:
        return [change]
    previous = tree.coded("previous_finding", presence_code(finding.prior).name)
    tree.with_children(previous, _previous_evidence(group, finding, comparison))
    return [previous, change]


def _previous_evidence(group: FindingGroup, finding: EntityFinding, comparison: Comparison) -> list[hd.ContentItem]:
    items: list[hd.ContentItem] = []
    if finding.prior_prob is not None:
        items.append(tree.percentage("probability", finding.prior_prob, Relationship.HAS_PROPERTIES))
    prior = comparison.prior_image
    if prior is None:
        return items
    if group.previous_region is not None:
        items.append(tree.previous_region(group.previous_region, is_multi_frame=prior.header.frames > 1))
    else:
        header = prior.header
        items.append(tree.image("source_image", header.instance_uid, header.sop_class_uid, Relationship.INFERRED_FROM))
    return items


def describe_change(finding: EntityFinding) -> str:
    """Say in words how a state was come to."""
    before = "" if finding.prior_prob is None else f"{finding.prior} on the prior ({finding.prior_prob:.2f}), "
    now = f"{finding.current} now ({finding.stated_prob:.2f})"
    return f"{finding.entity.name}: {before}{now}; {finding.state} by the rule {finding.rule}."


def _region(region: Region, image: Image) -> hd.ImageRegion:
    return hd.ImageRegion(
        graphic_type=hd.GraphicTypeValues.POLYLINE,
        graphic_data=tree.outline(region),
        source_image=tree.source_image(region, is_multi_frame=image.header.frames > 1),
    )


def _time_point(comparison: Comparison) -> hd.TimePointContext:
    """Time point that the group is assessed at (TID 1502): always the current study's, wherever its evidence lies.

    No Time Point Order (126073): viewers show every number of a group beside its region, as if it were measured.
    """
    return hd.TimePointContext(time_point=f"Current study, {dated(comparison.current.study_date)}")
