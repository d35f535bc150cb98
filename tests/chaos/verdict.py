"""What came of the studies: node, PACS and RIS are asked, what was lost or doubled leaves as sentences by study."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
import pydicom
from pydicom.uid import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from tests.chaos.studies import StudyPlan
from tests.support.house import House

_DRAFT_CLASSES = {"sr": str(Comprehensive3DSRStorage), "pdf": str(EncapsulatedPDFStorage)}

_PATIENCE_S, _PAUSE_S = 30.0, 0.5


@dataclass(slots=True)
class Verdict:
    """Sentences by Study Instance UID. What cannot be told of one study stands under an empty UID."""

    lost: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    doubled: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost or doubled."""
        return not self.lost and not self.doubled

    def sentences(self) -> list[str]:
        """Return all of them."""
        return [
            f"{what} {uid or '(no study)'}: {sentence}"
            for what, found in (("lost", self.lost), ("doubled", self.doubled))
            for uid, sentences in found.items()
            for sentence in sentences
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDraft:
    """An SR in the archive and the SRs it replaces."""

    instance_uid: str
    replaces: frozenset[str]


def judge(house: House, plans: Sequence[StudyPlan], *, others: bool = False) -> Verdict:
    """Compare what node, PACS and RIS hold with what was sent; `others` when more studies than these were."""
    verdict = Verdict()
    announced: dict[str, str] = {}
    for plan in plans:
        detail = _detail(house, plan.study_uid)
        if detail is None:
            verdict.lost[plan.study_uid].append("the node does not tell of it")
            continue
        _judge_study(detail["study"], plan, verdict)
        _judge_archive(house, plan.study_uid, detail["deliveries"], verdict)
        announced |= {each["identity"]: plan.study_uid for each in detail["deliveries"] if each["kind"] == "oru"}
    _judge_messages(house, announced, verdict, others=others)
    return verdict


def _detail(house: House, study_uid: str) -> dict[str, Any] | None:
    """Return what the API tells of a study; the last kill may have been a moment ago, so it is asked patiently."""
    ends_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            found: dict[str, Any] = house.node.get(f"/api/v1/studies/{study_uid}")
        except httpx.HTTPError as exc:
            unknown = isinstance(exc, httpx.HTTPStatusError) and exc.response.status_code == httpx.codes.NOT_FOUND
            if unknown or time.monotonic() > ends_s:
                return None
            time.sleep(_PAUSE_S)
        else:
            return found


def _judge_study(row: dict[str, Any], plan: StudyPlan, verdict: Verdict) -> None:
    if row["state"] != "done":
        verdict.lost[plan.study_uid].append(f"it is {row['state']} ({row['waits_for']})")
    if row["images"] < plan.image_count:
        verdict.lost[plan.study_uid].append(f"{row['images']} of {plan.image_count} acknowledged images are known")
    if row["images"] > plan.image_count:
        verdict.doubled[plan.study_uid].append(f"{row['images']} images are known of {plan.image_count}")


def _judge_archive(house: House, study_uid: str, deliveries: Iterable[dict[str, Any]], verdict: Verdict) -> None:
    stored = house.pacs.archive.instances(study_uid)
    for kind, sop_class_uid in _DRAFT_CLASSES.items():
        wanted = {each["identity"] for each in deliveries if each["kind"] == kind}
        there = {one.sop_instance_uid for one in stored if one.sop_class_uid == sop_class_uid}
        if wanted - there:
            verdict.lost[study_uid].append(f"{len(wanted - there)} {kind} documents are not in the PACS")
        if there - wanted:
            verdict.doubled[study_uid].append(
                f"{len(there - wanted)} {kind} documents in the PACS belong to no delivery"
            )
    drafts = [_draft(house.pacs.archive.download(one)) for one in stored if one.sop_class_uid == _DRAFT_CLASSES["sr"]]
    replaced = frozenset[str]().union(*(draft.replaces for draft in drafts))
    heads = [draft for draft in drafts if draft.instance_uid not in replaced]
    if not heads:
        verdict.lost[study_uid].append("no draft in the PACS is the latest")
    if len(heads) > 1:
        verdict.doubled[study_uid].append(f"{len(heads)} drafts in the PACS claim to be the latest")


def _draft(content: bytes) -> FoundDraft:
    ds = pydicom.dcmread(BytesIO(content))
    replaces = {
        str(reference.ReferencedSOPInstanceUID)
        for study in ds.get("PredecessorDocumentsSequence", [])
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    }
    return FoundDraft(instance_uid=str(ds.SOPInstanceUID), replaces=frozenset(replaces))


def _judge_messages(house: House, announced: dict[str, str], verdict: Verdict, *, others: bool) -> None:
    """Each announced control id came, no other did, and under each came one message only, however often."""
    received = house.ris.distinct()
    for control_id, study_uid in announced.items():
        if control_id not in received:
            verdict.lost[study_uid].append("a message did not reach the RIS")
        elif len(received[control_id]) > 1:
            verdict.doubled[study_uid].append("a message was sent again with other content")
    for control_id in () if others else received.keys() - announced.keys():
        verdict.doubled[""].append(f"the RIS has message {control_id}, which belongs to no delivery")
