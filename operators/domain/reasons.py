"""Why a study waits or is parked: the documented list, with the sentence an admin reads and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Reason codes of contract and documentation; values never change, codes are only added."""

    NO_PIXELS = "no-pixels"
    ABSURD_SIZE = "absurd-size"
    TRUNCATED = "truncated"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported-transfer-syntax"
    DECODE_FAILED = "decode-failed"
    MODALITY_NOT_SERVED = "modality-not-served"
    NO_READABLE_VIEW = "no-readable-view"
    VIEW_NOT_FRONTAL = "view-not-frontal"
    IMAGE_NOT_PRIMARY = "image-not-primary"
    OTHER_IMAGE_READ = "other-image-read"
    OTHER_FAMILY = "other-family"
    BODY_PART_UNKNOWN = "body-part-unknown"
    SERIES_NOT_SUITED = "series-not-suited"
    OTHER_SERIES_READ = "other-series-read"
    SLICES_WITHOUT_GEOMETRY = "slices-without-geometry"
    TOO_FEW_SLICES = "too-few-slices"
    SLICES_MISSING = "slices-missing"
    SLICES_TILTED = "slices-tilted"
    SLICES_OBLIQUE = "slices-oblique"
    NOT_HOUNSFIELD = "not-hounsfield"
    SPOOL_FILE_MISSING = "spool-file-missing"
    PATIENT_AMBIGUOUS = "patient-ambiguous"
    PATIENT_SAME = "patient-same"
    PATIENT_UNKNOWN = "patient-unknown"
    MERGE_CIRCULAR = "merge-circular"
    MERGE_CONFLICT = "merge-conflict"
    NOT_MERGED = "not-merged"
    PACS_AWAY = "pacs-away"
    PACS_REFUSED = "pacs-refused"
    RIS_AWAY = "ris-away"
    RIS_REFUSED = "ris-refused"
    DATABASE_AWAY = "database-away"
    STORAGE_FULL = "storage-full"
    BUNDLE_UNUSABLE = "bundle-unusable"
    ENGINE_DISAGREES = "engine-disagrees"
    REPORT_INVALID = "report-invalid"
    SETTING_INVALID = "setting-invalid"
    PORT_IN_USE = "port-in-use"
    PREREQUISITE_MISSING = "prerequisite-missing"
    RETRIES_EXHAUSTED = "retries-exhausted"
    DISCARDED = "discarded"
    DRAFT_DISCARDED = "draft-discarded"
    INTERNAL_ERROR = "internal-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What a code says: one sentence (a format string over the error's facts) and the next step for an admin."""

    sentence: str
    action: str


REASONS: dict[ReasonCode, Reason] = {
    ReasonCode.NO_PIXELS: Reason(
        sentence="The image holds no pixel data.",
        action="Ask the sending system for the complete image, then send it again.",
    ),
    ReasonCode.ABSURD_SIZE: Reason(
        sentence="The image claims a size that cannot be right.",
        action="Check the object at the modality; discard the study here.",
    ),
    ReasonCode.TRUNCATED: Reason(
        sentence="The image ends before its pixel data does.",
        action="Send the image again from its source.",
    ),
    ReasonCode.UNSUPPORTED_TRANSFER_SYNTAX: Reason(
        sentence="The image is compressed in a way this node cannot read.",
        action="Let the PACS send another transfer syntax, or report the syntax to us.",
    ),
    ReasonCode.DECODE_FAILED: Reason(
        sentence="The image's pixel data could not be decoded.",
        action="Check the image in a viewer; if it shows there, report it to us.",
    ),
    ReasonCode.MODALITY_NOT_SERVED: Reason(
        sentence="The selected model does not read this modality or body part.",
        action="Stop forwarding such studies to this node, select a model that reads them, or discard.",
    ),
    ReasonCode.NO_READABLE_VIEW: Reason(
        sentence="No image of the study is a view that the model reads.",
        action="Check View Position at the modality, or discard the study.",
    ),
    ReasonCode.VIEW_NOT_FRONTAL: Reason(
        sentence="The image is a lateral, oblique or decubitus view, which the model does not read.",
        action="Nothing to do; correct View Position at the modality if the image is a frontal view.",
    ),
    ReasonCode.IMAGE_NOT_PRIMARY: Reason(
        sentence="The image is a localizer, a secondary capture or a computed companion, not the film itself.",
        action="Nothing to do; correct Image Type at the modality if the image is the film itself.",
    ),
    ReasonCode.OTHER_IMAGE_READ: Reason(
        sentence="Another image of the study suited the model better and was read instead.",
        action="Nothing to do.",
    ),
    ReasonCode.OTHER_FAMILY: Reason(
        sentence="The study was made with other equipment or of another part of the body than the current one.",
        action="Nothing to do: only studies that the model reads alike are compared.",
    ),
    ReasonCode.BODY_PART_UNKNOWN: Reason(
        sentence="No series says that it shows the part of the body that the model reads.",
        action="Fill Body Part Examined or Series Description at the modality, or discard the study.",
    ),
    ReasonCode.SERIES_NOT_SUITED: Reason(
        sentence="The series is a localizer, a reformatted, derived or otherwise special one, not one the model reads.",
        action="Send the axial series as acquired; correct Image Type at the modality if this one is.",
    ),
    ReasonCode.OTHER_SERIES_READ: Reason(
        sentence="Another series of the study suited the model better and was read instead.",
        action="Nothing to do.",
    ),
    ReasonCode.SLICES_WITHOUT_GEOMETRY: Reason(
        sentence="The slices do not say where in the patient they lie.",
        action="Send the series from its source with Image Position and Image Orientation, or discard the study.",
    ),
    ReasonCode.TOO_FEW_SLICES: Reason(
        sentence="The series has too few slices at different places to be read as a volume.",
        action="Send the missing slices: they open a new revision by themselves; else discard the study.",
    ),
    ReasonCode.SLICES_MISSING: Reason(
        sentence="Slices of the series are missing, and the gap is too large to be bridged.",
        action="Send the missing slices: they open a new revision by themselves; else discard the study.",
    ),
    ReasonCode.SLICES_TILTED: Reason(
        sentence="The slices are shifted against each other by more than a tilted gantry explains.",
        action="Check at the modality that the series is one acquisition, or discard the study.",
    ),
    ReasonCode.SLICES_OBLIQUE: Reason(
        sentence="The slices lie too obliquely in the patient for the model.",
        action="Send a series in an axial, coronal or sagittal plane, or discard the study.",
    ),
    ReasonCode.NOT_HOUNSFIELD: Reason(
        sentence="The values of the CT are not Hounsfield units.",
        action="Send the series as the scanner made it, with Rescale Slope and Intercept, or discard the study.",
    ),
    ReasonCode.SPOOL_FILE_MISSING: Reason(
        sentence="A received image is no longer in the spool.",
        action="Send the study again; check the spool's retention and disk.",
    ),
    ReasonCode.PATIENT_AMBIGUOUS: Reason(
        sentence="Images of one study name different patients.",
        action="Correct the identity in the PACS, discard here, send again.",
    ),
    ReasonCode.PATIENT_SAME: Reason(
        sentence="Both identifiers are one and the same.",
        action="Name two identifiers; issuers count as part of them.",
    ),
    ReasonCode.PATIENT_UNKNOWN: Reason(
        sentence="No study, no row of the index and no merge knows this identifier.",
        action="Check the identifier and its issuer.",
    ),
    ReasonCode.MERGE_CIRCULAR: Reason(
        sentence="The surviving identifier was itself merged into the one that is to go.",
        action="See `python -m app patients show`; undo that merge first if it was wrong.",
    ),
    ReasonCode.MERGE_CONFLICT: Reason(
        sentence="The identifier that is to go was merged into another patient's before.",
        action="See `python -m app patients show`; undo that merge first if it was wrong.",
    ),
    ReasonCode.NOT_MERGED: Reason(
        sentence="The identifier was not merged into another.",
        action="See `python -m app patients show`; name the identifier that went, and its issuer.",
    ),
    ReasonCode.PACS_AWAY: Reason(
        sentence="The PACS does not answer.",
        action="Nothing to do once it is back: the node tries again by itself.",
    ),
    ReasonCode.PACS_REFUSED: Reason(
        sentence="The PACS refused the request.",
        action="Check credentials, AE titles and the PACS log; what waits goes on by itself, retry what is parked.",
    ),
    ReasonCode.RIS_AWAY: Reason(
        sentence="The RIS does not answer.",
        action="Nothing to do once it is back: the node tries again by itself.",
    ),
    ReasonCode.RIS_REFUSED: Reason(
        sentence="The RIS rejected the message.",
        action="Read the rejection at the RIS interface, correct the destination, then retry.",
    ),
    ReasonCode.DATABASE_AWAY: Reason(
        sentence="The database does not answer.",
        action="Nothing to do once it is back: senders repeat what was refused.",
    ),
    ReasonCode.STORAGE_FULL: Reason(
        sentence="The spool has too little free space.",
        action="Free space or shorten retention; senders repeat what was refused.",
    ),
    ReasonCode.BUNDLE_UNUSABLE: Reason(
        sentence="The model bundle cannot be used.",
        action="Run `python -m app models verify` and select a good bundle.",
    ),
    ReasonCode.ENGINE_DISAGREES: Reason(
        sentence="The engine does not answer as the reference engine does.",
        action="Run `python -m app selftest` to see where; serve with encode.engine onnxruntime meanwhile.",
    ),
    ReasonCode.REPORT_INVALID: Reason(
        sentence="The draft could not be written as a valid report.",
        action="Report it to us with the study's technical description.",
    ),
    ReasonCode.SETTING_INVALID: Reason(
        sentence="A setting is wrong.",
        action="Correct the setting named, then start again.",
    ),
    ReasonCode.PORT_IN_USE: Reason(
        sentence="A port is already taken.",
        action="Stop the other program or choose another port.",
    ),
    ReasonCode.PREREQUISITE_MISSING: Reason(
        sentence="Something this command needs is missing.",
        action="Install what is named.",
    ),
    ReasonCode.RETRIES_EXHAUSTED: Reason(
        sentence="The work failed too often and was given up.",
        action="Read the last reason, mend it, then retry.",
    ),
    ReasonCode.DISCARDED: Reason(
        sentence="An admin discarded the study.",
        action="Retry to take it up again.",
    ),
    ReasonCode.DRAFT_DISCARDED: Reason(
        sentence="An admin discarded the draft's documents before any was sent.",
        action="Nothing to do; a new draft is made when a further image of the study comes.",
    ),
    ReasonCode.INTERNAL_ERROR: Reason(
        sentence="The node met an error of its own.",
        action="Retry once; if it comes back, report it to us with the log line.",
    ),
}
