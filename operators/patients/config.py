"""Settings of patients' identities."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerName:
    """One assigning authority of HL7 messages (namespace or universal id of CX.4) and how DICOM objects call it."""

    authority: str
    issuer: str

    def __post_init__(self) -> None:
        if not self.authority:
            raise ConfigError("patients.issuers: authority must be given")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientsConfig:
    """How identifiers of messages are matched with those of objects.

    Attributes
    ----------
    local_issuer
        Issuer of the patient IDs that the hospital's objects carry without an issuer. A merge of such identifiers then
        holds with the issuer and without it; empty: a merge holds for the issuer that it names, and for no other.
    issuers
        Assigning authorities of HL7 messages that DICOM objects call by another name.
    acknowledge_other_events
        Whether ADT events that change nobody's identifiers (admissions, updates) are accepted without any effect, for
        feeds that cannot be filtered. Otherwise they are rejected (AR).
    """

    local_issuer: str = ""
    issuers: tuple[IssuerName, ...] = ()
    acknowledge_other_events: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError for an authority that is named twice."""
        named = [entry.authority for entry in self.issuers]
        if len(named) != len(set(named)):
            raise ConfigError("patients.issuers: an authority is named twice")

    def issuer_of(self, namespace: str, universal_id: str) -> str:
        """Return what objects call an assigning authority: by `issuers`, else its namespace, else its universal id."""
        known = {entry.authority: entry.issuer for entry in self.issuers}
        for name in (namespace, universal_id):
            if name in known:
                return known[name]
        return namespace or universal_id
