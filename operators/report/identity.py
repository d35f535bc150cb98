"""Deterministic identity of a draft: the comparison and the node enter, every UID of its documents leaves."""

from dataclasses import dataclass

from operators.domain.drafts import DocumentKind
from operators.domain.ids import InstanceUid, SeriesUid, derive_uid, digest
from operators.domain.messages import Comparison, EntityTerm
from operators.report.node import NodeIdentity

_WHOLE_IMAGE = "image"


def identity_digest(node: NodeIdentity, comparison: Comparison, configuration_digest: str) -> str:
    """Return the digest that all identities of a draft derive from.

    f(node UID root, study, revision, frozen list of priors, bundle SHA-256, configuration digest): the same inputs give
    the same draft on every machine and after every restart; a different model or setting gives another draft.
    """
    priors = "\\".join(decision.study_uid for decision in comparison.search.chosen)
    current = comparison.current
    return digest(
        "draft",
        node.uid_root,
        current.study_uid,
        str(current.revision),
        priors,
        comparison.bundle.sha256,
        configuration_digest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftIdentity:
    """The UIDs of one draft, all derived from its digest."""

    uid_root: str
    digest: str

    def instance_uid(self, kind: DocumentKind) -> InstanceUid:
        """SOP Instance UID of the draft's document of that kind."""
        return InstanceUid(derive_uid(self.uid_root, self.digest, kind.value, "instance"))

    def series_uid(self, kind: DocumentKind) -> SeriesUid:
        """Series Instance UID of the draft's document of that kind; each document is a series of its own."""
        return SeriesUid(derive_uid(self.uid_root, self.digest, kind.value, "series"))

    def observation_uid(self, entity: EntityTerm) -> str:
        """Observation UID (0040,A171) of what this draft, and no other, observed of an entity."""
        return derive_uid(self.uid_root, self.digest, "observation", str(entity.index))

    def image_observation_uid(self) -> str:
        """Observation UID (0040,A171) of what this draft says of the image as a whole."""
        return derive_uid(self.uid_root, self.digest, "observation", _WHOLE_IMAGE)


def tracking_uid(node: NodeIdentity, comparison: Comparison, entity: EntityTerm) -> str:
    """Tracking Unique Identifier (112040, DCM) of an entity in a patient.

    The model answers for an entity on an image, not for single lesions, so what is followed over time is the entity's
    course in the patient: the UID depends on the patient and the entity alone. It is therefore the same in every
    revision, in the draft that had today's prior as its current study, and whichever prior is compared with. Where the
    images carry no patient id, nobody can say that two studies are of one patient, and the study takes its place.
    """
    return derive_uid(node.uid_root, "tracking", _whose(comparison), str(entity.index))


def image_tracking_uid(node: NodeIdentity, comparison: Comparison) -> str:
    """Tracking Unique Identifier (112040, DCM) of the image as a whole, where nothing on it was assessed."""
    return derive_uid(node.uid_root, "tracking", _whose(comparison), _WHOLE_IMAGE)


def _whose(comparison: Comparison) -> str:
    patient = comparison.current.patient
    return patient.key if patient.patient_id else comparison.current.study_uid


def algorithm_device_uid(node: NodeIdentity, bundle_sha256: str) -> str:
    """Device UID of the model on this node; it changes with every retrain, because the bundle's hash does."""
    return derive_uid(node.uid_root, "algorithm", node.device_serial_number, bundle_sha256)
