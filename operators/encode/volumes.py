"""CT and MR: a study enters, its series that the model can read as a volume leave, best first.

What is chosen and how slices become a volume is models.shared.volumes' business; here its answers are matched with the
study's images, and its errors with the node's reasons. A series' voxels are held only while its input is made.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from models.encoder.engine import FamilyInfo
from models.encoder.evidence import EvidenceRegion
from models.shared.pixels import PixelLimits
from models.shared.volumes import (
    LEFT_OUT_SENTENCES,
    InputSpec,
    LeftOut,
    Placement,
    PlaneBox,
    ScannedSeries,
    SeriesCandidate,
    SeriesFacts,
    SliceRegion,
    Volume,
    VolumeError,
    VolumeErrorCode,
    choose_series,
    input_spec,
    read_volume,
    region_on_slices,
    scan_files,
    volume_input,
)
from models.shared.volumes.words import Region as BodyPart
from models.shared.volumes.words import kernel_of, phase_of, region_of, sequence_of
from operators.domain import anatomy
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid
from operators.domain.messages import Image, InstanceHeader, ReadScope, Region, Study
from operators.domain.radiograph import BodyRegion, body_region_of, words_of
from operators.domain.reasons import ReasonCode
from operators.encode.reading import (
    REASON_OF_PIXEL_ERROR,
    Candidate,
    Choice,
    ReadInput,
    Shown,
    Skipped,
    file_errors,
    is_foreign,
    plain_facts,
)

REASON_OF_VOLUME_ERROR: Mapping[VolumeErrorCode, ReasonCode] = {
    VolumeErrorCode.NO_SLICES: ReasonCode.DECODE_FAILED,
    VolumeErrorCode.NO_GEOMETRY: ReasonCode.SLICES_WITHOUT_GEOMETRY,
    VolumeErrorCode.TOO_FEW_SLICES: ReasonCode.TOO_FEW_SLICES,
    VolumeErrorCode.GAP_TOO_LARGE: ReasonCode.SLICES_MISSING,
    VolumeErrorCode.TOO_MANY_MISSING: ReasonCode.SLICES_MISSING,
    VolumeErrorCode.TILT_TOO_LARGE: ReasonCode.SLICES_TILTED,
    VolumeErrorCode.SKEWED_AXES: ReasonCode.SLICES_OBLIQUE,
    VolumeErrorCode.NOT_HOUNSFIELD: ReasonCode.NOT_HOUNSFIELD,
    VolumeErrorCode.ABSURD_SIZE: ReasonCode.ABSURD_SIZE,
    VolumeErrorCode.NOT_NIFTI: ReasonCode.DECODE_FAILED,
    VolumeErrorCode.DAMAGED_NIFTI: ReasonCode.DECODE_FAILED,
    VolumeErrorCode.BAD_SHAPE: ReasonCode.DECODE_FAILED,
    VolumeErrorCode.NOT_FINITE: ReasonCode.DECODE_FAILED,
    VolumeErrorCode.WRONG_MODALITY: ReasonCode.MODALITY_NOT_SERVED,
}
REASON_OF_LEFT_OUT: Mapping[LeftOut, ReasonCode] = {
    LeftOut.OTHER_MODALITY: ReasonCode.MODALITY_NOT_SERVED,
    LeftOut.OTHER_BODY_PART: ReasonCode.MODALITY_NOT_SERVED,
    LeftOut.LOCALIZER: ReasonCode.IMAGE_NOT_PRIMARY,
    LeftOut.NOT_AN_IMAGE_SERIES: ReasonCode.IMAGE_NOT_PRIMARY,
    LeftOut.DERIVED: ReasonCode.SERIES_NOT_SUITED,
    LeftOut.NOT_AXIAL: ReasonCode.SERIES_NOT_SUITED,
    LeftOut.MAP: ReasonCode.SERIES_NOT_SUITED,
    LeftOut.NO_GEOMETRY: ReasonCode.SLICES_WITHOUT_GEOMETRY,
    LeftOut.TOO_FEW_SLICES: ReasonCode.TOO_FEW_SLICES,
}
# The study is parked for the reason of the series that came nearest to being read.
_NEAREST_FIRST = (
    ReasonCode.TOO_FEW_SLICES,
    ReasonCode.SLICES_WITHOUT_GEOMETRY,
    ReasonCode.BODY_PART_UNKNOWN,
    ReasonCode.SERIES_NOT_SUITED,
    ReasonCode.TRUNCATED,
    ReasonCode.DECODE_FAILED,
    ReasonCode.IMAGE_NOT_PRIMARY,
)
_WHOLE_PLANE = PlaneBox(x=0.0, y=0.0, width=1.0, height=1.0)


class VolumeReader:
    """Reads one series of a study; of a prior, one of the kind of the current study's if there is one."""

    def __init__(self, family: FamilyInfo, max_frame_px: int) -> None:
        self._family = family
        self._limits = PixelLimits(max_frame_px=max_frame_px)

    def choose(self, study: Study, like: Shown | None) -> Choice:
        """Sort the study's series by their headers. Raises TransientError for a file that cannot be read."""
        served = [image for image in study.images if image.header.modality in self._family.dicom_modalities]
        foreign: Skipped = tuple(
            (image.header.instance_uid, ReasonCode.MODALITY_NOT_SERVED) for image in study.images if image not in served
        )
        if not served:
            return Choice(candidates=(), skipped=foreign, why_none=ReasonCode.MODALITY_NOT_SERVED)
        with file_errors():
            scanned = scan_files(image.path for image in served)
        of_path = {image.path: image for image in served}
        unreadable = [
            (of_path[path].header.instance_uid, REASON_OF_PIXEL_ERROR[code]) for path, code in scanned.unreadable
        ]
        chosen, skipped = self._judge(scanned.series, study, served)
        chosen.sort(key=lambda candidate: _unlike(candidate.facts, like.scope if like else None))
        by_uid = {series.facts.series_uid: series for series in scanned.series}
        skipped = (*foreign, *unreadable, *skipped)
        return Choice(
            candidates=tuple(self._candidate(each, by_uid[each.facts.series_uid], served) for each in chosen),
            skipped=skipped,
            why_none=_why_none(skipped),
        )

    def _judge(
        self, series: Sequence[ScannedSeries], study: Study, images: Sequence[Image]
    ) -> tuple[list[SeriesCandidate], Skipped]:
        choice = choose_series([each.facts for each in series], self._family.modality)
        reasons = {uid: REASON_OF_LEFT_OUT[why] for uid, why in choice.left_out}
        chosen: list[SeriesCandidate] = []
        for candidate in choice.candidates:
            uid = candidate.facts.series_uid
            header = next(image.header for image in images if image.header.series_uid == uid)
            if _shows_the_part(candidate.facts, header, study.study_description):
                chosen.append(candidate)
            else:
                reasons[uid] = ReasonCode.BODY_PART_UNKNOWN
        skipped = tuple(
            (image.header.instance_uid, reasons[image.header.series_uid])
            for image in images
            if image.header.series_uid in reasons
        )
        return chosen, skipped

    def _candidate(self, chosen: SeriesCandidate, scanned: ScannedSeries, images: Sequence[Image]) -> Candidate:
        own = tuple(image for image in images if image.header.series_uid == chosen.facts.series_uid)
        return Candidate(images=own, read=partial(self._read, chosen, scanned, own))

    def _read(self, chosen: SeriesCandidate, scanned: ScannedSeries, images: Sequence[Image]) -> ReadInput:
        """Read the series. Raises PermanentError with the reason that the slices give, TransientError."""
        with volume_errors(), file_errors():
            volume = read_volume(scanned.slices, chosen.facts.modality, pixel_limits=self._limits)
            made = volume_input(volume, self._spec())
        place = VolumePlace(placement=made.placement)
        shown = place.on_slice(_WHOLE_PLANE)
        of_uid = {image.header.instance_uid: image for image in images}
        image = of_uid[InstanceUid(shown.source.instance_uid if shown.source else "")]
        scope = _scope(chosen, volume, shown)
        return ReadInput(shown=Shown(image=image, scope=scope, place=place), model_input=made.voxels)

    def _spec(self) -> InputSpec:
        family = self._family
        return input_spec(
            family.modality, depth=family.input_depth, side_px=family.input_side_px, pad_value=family.pad_value
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumePlace:
    """The model's plane is that of a volume's input; it has no depth, so a middle slice shows what it points to."""

    placement: Placement

    def region(self, evidence: EvidenceRegion) -> Region:
        """Return the evidence's box on the slice that shows it; the whole of the middle one where it is padding."""
        box = PlaneBox(x=evidence.x, y=evidence.y, width=evidence.width, height=evidence.height)
        found = region_on_slices(self.placement, box) or self.on_slice(_WHOLE_PLANE)
        if found.source is None:
            raise PermanentError(ReasonCode.SLICES_WITHOUT_GEOMETRY)
        return Region(
            instance_uid=InstanceUid(found.source.instance_uid),
            sop_class_uid=found.source.sop_class_uid,
            frame_number=found.source.frame_index + 1,
            left_px=found.left_px,
            top_px=found.top_px,
            right_px=found.right_px,
            bottom_px=found.bottom_px,
        )

    def on_slice(self, box: PlaneBox) -> SliceRegion:
        """Return where a box that covers data lies. Raises PermanentError when the input holds padding alone."""
        found = region_on_slices(self.placement, box)
        if found is None:
            raise PermanentError(ReasonCode.SLICES_WITHOUT_GEOMETRY)
        return found


@contextmanager
def volume_errors() -> Iterator[None]:
    """Turn what slices that make no volume raise into an error of the tree, with what was measured of them."""
    try:
        yield
    except VolumeError as exc:
        raise PermanentError(REASON_OF_VOLUME_ERROR[exc.code], volume=exc.code.value, **plain_facts(exc.facts)) from exc


def _scope(chosen: SeriesCandidate, volume: Volume, shown: SliceRegion) -> ReadScope:
    facts = chosen.facts
    is_ct = facts.modality == "CT"
    notes = [note.sentence for note in volume.notes]
    if chosen.last_resort is not None:
        notes.append(f"No better series was there. {LEFT_OUT_SENTENCES[chosen.last_resort]}")
    return ReadScope(
        frame_number=shown.source.frame_index + 1 if shown.source else 1,
        slices=volume.geometry.shape[0],
        notes=tuple(notes),
        phase=phase_of(facts).value if is_ct else "",
        kernel=kernel_of(facts).value if is_ct else "",
        weighting="" if is_ct else sequence_of(facts).value,
        plane=facts.plane.value,
    )


def _unlike(facts: SeriesFacts, like: ReadScope | None) -> tuple[bool, ...]:
    """Sort key: False first, so that a series of the kind of `like` comes before others; stable among equals."""
    if like is None:
        return ()
    is_ct = facts.modality == "CT"
    return (
        not is_ct and sequence_of(facts).value != like.weighting,
        is_ct and phase_of(facts).value != like.phase,
        is_ct and kernel_of(facts).value != like.kernel,
        facts.plane.value != like.plane,
    )


def _shows_the_part(facts: SeriesFacts, header: InstanceHeader, study_description: str) -> bool:
    """Whether the series is said to show what the family reads: one that says nothing may show anything."""
    if facts.modality == "CT":
        is_said = region_of(facts) is BodyPart.CHEST
        return is_said or body_region_of(header, study_description) is BodyRegion.CHEST
    if region_of(facts) is BodyPart.BRAIN:
        return True
    texts = (header.series_description, header.protocol_name, header.body_part, study_description)
    return any(word.startswith(anatomy.BRAIN) for text in texts for word in words_of(text))


def _why_none(skipped: Skipped) -> ReasonCode:
    reasons = [reason for _, reason in skipped]
    if is_foreign(reasons):
        return ReasonCode.MODALITY_NOT_SERVED
    nearest = (reason for reason in _NEAREST_FIRST if reason in reasons)
    return next(nearest, next(reason for reason in reasons if reason is not ReasonCode.MODALITY_NOT_SERVED))
