"""Keys of patients (messages.Patient.key) read back: a key enters, the patient's id and issuer leave."""

from operators.domain.messages import Patient


def patient_of(key: str) -> Patient:
    """Return the patient whose key this is, without demographics."""
    issuer, _, patient_id = key.partition("\x1f")
    return Patient(patient_id=patient_id, issuer=issuer)
