"""ORU^R01: a draft and one destination's wishes enter, the message's bytes leave, always the same for the same draft.

IHE RAD TF-2 4.28 (RAD-28, Structured Report Export) gives the shape: HD observations name the SR and the images, TX
carries the text. Status R ("stored; not yet verified", HL7 tables 0123 and 0085) is everywhere, OBR-32 is empty: no
physician has spoken. Nothing about another patient is read here: the similar cases stay in the draft's ComparedCase.

A later revision carries the same filler order number (OBR-3), so that it takes the place of the earlier result at the
receiver (HL7 v2.5.1 7.1.2, snapshot mode), and an NTE says so. OBR-26 and OBR-29 would say something else: they tie a
child order to the parent result that caused it (4.5.3.26, 4.5.3.29).
"""

from collections.abc import Iterator

from models.shared.codes import Code, UnknownCodeError, change_code, code, presence_code
from operators.domain.drafts import Document, DocumentKind, DraftReport
from operators.domain.errors import PermanentError
from operators.domain.hl7.charsets import FittedText, fit, fits
from operators.domain.hl7.er7 import (
    SEGMENT_END,
    components,
    dicom_date,
    dicom_timestamp,
    escape_line,
    escape_text,
    header_segment,
    numeric,
    repetitions,
    segment,
    timestamp,
)
from operators.domain.ids import control_id
from operators.domain.messages import ChangeState, Comparison, EntityFinding, Patient, Presence
from operators.domain.reasons import ReasonCode
from operators.notify.config import Hl7Version, MllpDestination
from operators.notify.names import FittedName, Spelling, fit_name

_SEXES = frozenset({"M", "F", "O"})
_SAYS_CHANGE = frozenset(
    {ChangeState.NEW, ChangeState.RESOLVED, ChangeState.WORSE, ChangeState.BETTER, ChangeState.STABLE}
)


def build_oru(draft: DraftReport, destination: MllpDestination) -> Document:
    """Write the message about `draft` for `destination`. MSH-10 derives from the draft, destination and kind.

    Raises PermanentError(REPORT_INVALID) when an identifier has characters that the destination's character set
    lacks (an identifier is never respelt), or when a finding's code is unknown.
    """
    identity = control_id(draft.identity_digest, destination.name, DocumentKind.ORU.value)
    text = _OruWriter(draft, destination, identity).message()
    return Document(
        kind=DocumentKind.ORU, identity=identity, sop_class_uid="", content=text.encode(destination.charset.codec)
    )


class _OruWriter:
    """Writes one message; counts the characters that had to be written by number, for the note that tells it."""

    def __init__(self, draft: DraftReport, destination: MllpDestination, identity: str) -> None:
        self.draft = draft
        self.comparison: Comparison = draft.compared.comparison
        self.destination = destination
        self.identity = identity
        self.charset = destination.charset
        self.numbered = 0

    def message(self) -> str:
        """Write the whole message, each segment ended."""
        name = fit_name(self.comparison.current.patient.name, self.charset)
        self.numbered += name.numbered
        patient = self._pid(self.comparison.current.patient, name)
        visit = self._pv1()
        order = self._obr()
        observations = list(self._observations())
        notes = self._notes(name.left_out)
        return "".join(part + SEGMENT_END for part in (self._msh(), patient, visit, order, *notes, *observations))

    # --- values -----------------------------------------------------------------------------------------------------

    def _count(self, fitted: FittedText) -> str:
        self.numbered += fitted.numbered
        return fitted.text

    def _line(self, text: str) -> str:
        return escape_line(self._count(fit(text, self.charset)))

    def _text(self, text: str) -> str:
        return escape_text(self._count(fit(text, self.charset)), self.destination.line_break)

    def _identifier(self, text: str) -> str:
        if not fits(text, self.charset):
            raise PermanentError(
                ReasonCode.REPORT_INVALID,
                destination=self.destination.name,
                why=f"an identifier does not fit into {self.destination.character_set}",
            )
        return escape_line(text)

    def _coded(self, concept: Code) -> str:
        return components(*map(self._line, (concept.value, concept.meaning, concept.scheme)))

    # --- segments ---------------------------------------------------------------------------------------------------

    def _msh(self) -> str:
        to = self.destination
        return header_segment(
            {
                3: self._identifier(to.sending_application),
                4: self._identifier(to.sending_facility),
                5: self._identifier(to.receiving_application),
                6: self._identifier(to.receiving_facility),
                7: timestamp(self.draft.rendered_at),
                9: "ORU^R01^ORU_R01",
                10: self.identity,
                11: to.processing_id,
                12: to.version.value,
                18: self.charset.msh_18,
                20: self.charset.msh_20,
            }
        )

    def _pid(self, patient: Patient, name: FittedName) -> str:
        number = self._identifier(patient.patient_id)
        authority = _assigner(self._identifier(patient.issuer or self.destination.assigning_authority))
        return segment(
            "PID",
            {
                1: "1",
                3: components(number, "", "", authority, "PI") if number else "",
                5: _xpn(name),
                7: dicom_date(patient.birth_date),
                8: patient.sex if patient.sex in _SEXES else "U" if patient.sex else "",
            },
        )

    def _pv1(self) -> str:
        name = fit_name(self.comparison.current.referring_physician, self.charset)
        self.numbered += name.numbered
        parts = name.spellings[0].parts if name.spellings else ()
        return segment("PV1", {1: "1", 2: "U", 8: components("", *map(escape_line, parts))})

    def _obr(self) -> str:
        study, to = self.comparison.current, self.destination
        number = components(control_id("filler", study.study_uid), self._identifier(to.sending_application))
        return segment(
            "OBR",
            {
                1: "1",
                2: number,
                3: number,
                4: components(*map(self._identifier, (to.service_code, to.service_text, to.service_scheme))),
                7: dicom_timestamp(study.study_date, study.study_time),
                18: self._identifier(study.accession_number),
                19: self._identifier(self.comparison.current_image.header.requested_procedure_id),
                22: timestamp(self.draft.rendered_at),
                24: "RAD",
                25: to.result_status.value,
            },
        )

    def _notes(self, names_left_out: int) -> list[str]:
        notes = []
        if self.draft.revision > 1:
            notes.append(f"Revision {self.draft.revision} of this draft. It replaces all earlier revisions.")
        if self.draft.predecessor_sr_uid:
            notes.append(f"It replaces the draft with SR Instance UID {self.draft.predecessor_sr_uid}.")
        if names_left_out:
            notes.append(f"A spelling of the patient's name does not fit into {self.charset.name} and is left out.")
        if self.numbered:
            notes.append(f"{self.numbered} characters do not fit into {self.charset.name}: they stand as [U+number].")
        return [
            segment("NTE", {1: str(number), 2: "L", 3: escape_line(note)}) for number, note in enumerate(notes, start=1)
        ]

    # --- observations -----------------------------------------------------------------------------------------------

    def _observations(self) -> Iterator[str]:
        rows = [*self._references(), *self._texts(), *self._findings()]
        for number, row in enumerate(rows, start=1):
            yield segment("OBX", {1: str(number), **row, 11: self.destination.result_status.value})

    def _references(self) -> Iterator[dict[int, str]]:
        """RAD-28: the SR, then study, series, instance and class of the image read, tied by one sub-id."""
        header = self.comparison.current_image.header
        yield _uid("SR Instance UID", self.draft.document(DocumentKind.SR).identity)
        yield _uid("Study Instance UID", self.draft.study_uid)
        yield _uid("Series Instance UID", header.series_uid)
        yield _uid("SOP Instance UID", header.instance_uid)
        yield _uid("SOP Class UID", header.sop_class_uid)

    def _texts(self) -> Iterator[dict[int, str]]:
        bundle = self.comparison.bundle
        said = (sentence.text for sentence in self.comparison.sentences)
        lines = (self.destination.draft_notice, f"Model {bundle.name} {bundle.version}.", *said)
        for sub_id, line in enumerate(lines, start=1):
            yield {2: "TX", 3: components("", "SR Text"), 4: str(sub_id), 5: self._text(line)}

    def _findings(self) -> Iterator[dict[int, str]]:
        """One row a finding that says something: OBX-3 what, OBX-5 how it stands, OBX-9 how sure (0 to 1)."""
        coded_type = "CE" if self.destination.version in {Hl7Version.V231, Hl7Version.V24} else "CWE"
        for sub_id, finding in enumerate(self.comparison.findings, start=1):
            try:
                state = _state_code(finding)
                what = code(finding.entity.finding_code)
            except UnknownCodeError as exc:
                raise PermanentError(
                    ReasonCode.REPORT_INVALID, why="unknown code", entity=finding.entity.index
                ) from exc
            if state is None or not finding.is_measured:
                continue
            entity = (f"E{finding.entity.index}", finding.entity.name, "99INTERVAL")
            yield {
                2: coded_type,
                3: components(self._coded(what), *map(self._line, entity)),
                4: str(sub_id),
                5: self._coded(state),
                9: numeric(_sureness(finding), 3),
            }


def _state_code(finding: EntityFinding) -> Code | None:
    """How the finding stands: its change; else that it is present; None when there is nothing positive to say.

    The finding is OBX-3 and its state OBX-5, so that a receiver which drops one of them cannot take a resolved
    finding for a present one.
    """
    if finding.state in _SAYS_CHANGE:
        return change_code(finding.state.value)
    if finding.state is ChangeState.UNDETERMINED and finding.current is Presence.PRESENT:
        return presence_code(Presence.PRESENT.value)
    return None


def _sureness(finding: EntityFinding) -> float:
    """Probability of what OBX-5 states: of the change; of the presence where no change is stated (confidence 0)."""
    return finding.stated_prob if finding.state is ChangeState.UNDETERMINED else finding.confidence


def _uid(what: str, uid: str) -> dict[int, str]:
    return {2: "HD", 3: components("", what), 4: "1", 5: escape_line(uid)}


def _assigner(authority: str) -> str:
    """HD in a CX: an OID is a universal id (component 2 and 3), anything else a namespace."""
    is_oid = authority.count(".") >= 2 and authority.replace(".", "").isdigit()
    return f"&{authority}&ISO" if is_oid else authority


def _xpn(name: FittedName) -> str:
    several = len(name.spellings) > 1

    def one(spelling: Spelling) -> str:
        representation = spelling.representation if several or spelling.representation != "A" else ""
        return components(*map(escape_line, spelling.parts), "", "L", representation)

    return repetitions([one(spelling) for spelling in name.spellings])
