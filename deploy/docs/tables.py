"""The generated tables of the documentation: the code's own tables enter, Markdown leaves. One function a table."""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    UncompressedTransferSyntaxes,
)

from app.cli import main as command_line
from deploy.docs.describe import Setting, settings
from models.shared.codes import codes
from models.shared.pixels.decoders import DECODERS, is_decodable
from operators.deliver import statuses
from operators.domain.hl7.charsets import CHARACTER_SETS
from operators.domain.hl7.refusals import ERROR_TEXTS, RefusalReason
from operators.domain.reasons import REASONS
from operators.notify.acks import Answer, outcome_of
from operators.notify.config import ErrorPolicy, Hl7Version
from operators.patients.adt import MERGING_EVENTS
from operators.priors.answers import INSTANCE_FIELDS, SERIES_FIELDS, STUDY_FIELDS
from operators.priors.relevance import REASON_SENTENCES
from operators.receive.acceptance import COMMENTS, StoreStatus, judge_association
from operators.receive.config import ReceiveConfig

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"

_SECTION_TITLES = {
    "deliver": "deliver: whether drafts leave",
    "node": "node: the node itself",
    "receive": "receive: the DICOM listener",
    "assemble": "assemble: when a study is complete",
    "priors": "priors: the PACS that priors come from",
    "encode": "encode: how images are read",
    "retrieve": "retrieve: similar cases",
    "compare": "compare: when a change is stated",
    "report": "report: what a draft looks like",
    "pacs": "pacs: the archives that get drafts",
    "notify": "notify: the RIS that is told",
    "ris": "ris: messages of the RIS that come in",
    "patients": "patients: whose identifiers are whose",
    "work": "work: how jobs are taken",
    "web": "web: pages and API",
    "models": "models: how bundles are brought in",
}
_DECODER_NAMES = {
    "interval-jpeg": "libjpeg-turbo (imagecodecs)",
    "pillow": "libjpeg-turbo (Pillow)",
    "pyjpegls": "CharLS (pyjpegls)",
    "pylibjpeg": "OpenJPEG (pylibjpeg-openjpeg)",
    "pydicom": "pydicom",
}


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown table; bars within cells are escaped."""
    lines = [heads, ["---"] * len(heads), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def settings_tables() -> str:
    """Every setting, a table a section."""
    listed = settings()
    sections = dict.fromkeys(setting.section for setting in listed)
    parts = [
        f"## {_SECTION_TITLES[section]}\n\n{_settings_table(s for s in listed if s.section == section)}"
        for section in sections
    ]
    return "\n\n".join(parts)


def _settings_table(listed: Iterable[Setting]) -> str:
    rows = (
        (
            f"`{setting.path}`",
            setting.kind + (", secret" if setting.is_secret else ""),
            setting.unit,
            setting.default,
            setting.meaning,
            f"`{setting.variable}`" if setting.variable else "",
        )
        for setting in listed
    )
    return table(("setting", "kind", "unit", "default", "meaning", "environment"), rows)


def reasons() -> str:
    """Reason codes, what each says, and what to do."""
    rows = ((f"`{code.value}`", reason.sentence, reason.action) for code, reason in REASONS.items())
    return table(("code", "sentence", "what to do"), rows)


def prior_decisions() -> str:
    """Reasons why a study was chosen as a prior or left."""
    return table(("code", "reason"), ((f"`{code.value}`", sentence) for code, sentence in REASON_SENTENCES.items()))


def commands() -> str:
    """Commands of `python -m app` with their arguments, as argparse has them."""
    rows = ((f"`{name}{_arguments(parser)}`", says) for name, says, parser in all_commands())
    return table(("command", "what it does"), rows)


def all_commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, help and parser of each command that can be run."""
    yield from _leaves("", command_line._parser())  # noqa: SLF001 - the parser has no public name and needs none


def _leaves(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list its commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - nor to name this class
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001 - nor these
            for verb, child in action.choices.items():
                inner = list(_leaves(f"{name} {verb}".strip(), child))
                yield from inner or [(f"{name} {verb}".strip(), helps.get(verb, ""), child)]


def _arguments(parser: argparse.ArgumentParser) -> str:
    usage = " ".join(parser.format_usage().split())
    return usage.removeprefix(f"usage: {parser.prog}").replace(" [-h]", "")


def make_targets() -> str:
    """Targets of the Makefile that say what they do."""
    rows = ((f"`make {name}`", says) for name, says in all_targets().items())
    return table(("target", "what it does"), rows)


def all_targets() -> dict[str, str]:
    """Return the described targets of the Makefile, by name."""
    text = MAKEFILE.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", text, re.MULTILINE))


def pixel_syntaxes() -> str:
    """Transfer syntaxes whose pixel data can be read, and by what."""
    native = [(uid.name, f"`{uid}`", "pydicom") for uid in UncompressedTransferSyntaxes if is_decodable(uid)]
    coded = [(uid.name, f"`{uid}`", _DECODER_NAMES[name]) for uid, name in DECODERS.items()]
    return table(("transfer syntax", "UID", "decoder"), [*native, *coded])


def store_statuses() -> str:
    """Answers to a C-STORE request."""
    rows = (
        (f"{status:04X}", status.name.replace("_", " ").lower(), COMMENTS.get(status, "")) for status in StoreStatus
    )
    return table(("status", "meaning", "Error Comment (0000,0902)"), rows)


def rejections() -> str:
    """Association rejections, as the code decides them."""
    config = ReceiveConfig(calling_ae_titles=("KNOWN",), maximum_associations=1)
    cases = (("KNOWN", "OTHER", 0), ("UNKNOWN", "INTERVAL", 0), ("KNOWN", "INTERVAL", 1))
    rejected = [judge_association(calling, called, others, config) for calling, called, others in cases]
    rows = ((f"`{r.reason.value}`", r.result, r.source, r.diagnostic) for r in rejected if r is not None)
    return table(("reason counted", "result", "source", "diagnostic"), rows)


def documents() -> str:
    """Objects that the node makes."""
    uses = {
        Comprehensive3DSRStorage: "the draft, TID 1500",
        EncapsulatedPDFStorage: "readable companion, the default",
        BasicTextSRStorage: "readable companion, by `report.companion`",
    }
    return table(("SOP class", "UID", "use"), ((uid.name, f"`{uid}`", use) for uid, use in uses.items()))


def store_outcomes() -> str:
    """Say what an archive's status means for the document that it was sent."""
    shown = (0x0000, 0xB000, 0x0110, 0x0111, 0x0122, 0x0124, 0x0213, 0xA700, 0xA900, 0xC000)
    says = {
        statuses.Outcome.STORED: "stored",
        statuses.Outcome.AGAIN: "sent again later",
        statuses.Outcome.REFUSED_US: "sent again later, and shown as refused",
        statuses.Outcome.REFUSED: "parked for an admin",
    }
    rows = (
        (f"{status:04X}", says[statuses.outcome_of(status)], says[statuses.outcome_of_failure(status)])
        for status in shown
    )
    return table(("status", "in a C-STORE response", "as Failure Reason (0008,1197) of STOW-RS"), rows)


def qido_attributes() -> str:
    """Attributes that QIDO-RS is asked for."""
    levels = {"study": STUDY_FIELDS, "series": SERIES_FIELDS, "instance": INSTANCE_FIELDS}
    return table(("level", "attributes"), ((level, ", ".join(fields)) for level, fields in levels.items()))


def hl7_answers() -> str:
    """Say what an acknowledgement means, by policy."""
    cases = (("AA or CA", "AA", ""), ("AE or CE, error 207", "AE", "207"), ("AE or CE, error 101", "AE", "101"))
    rows = [
        (
            said,
            *(outcome_of(Answer(code=code, control_id="", error_code=error), policy).value for policy in ErrorPolicy),
        )
        for said, code, error in (*cases, ("AR or CR", "AR", ""))
    ]
    return table(("answer", *(f"`{policy.value}`" for policy in ErrorPolicy)), rows)


def hl7_merging_events() -> str:
    """Trigger events of ADT that merge patients."""
    return table(("event", "meaning"), ((f"ADT^{event}", said) for event, said in MERGING_EVENTS.items()))


def hl7_refusals() -> str:
    """Answers to messages that are not taken, and why."""
    rows = (
        (
            reason.value.answer,
            f"{reason.value.error_code} {ERROR_TEXTS[reason.value.error_code]}",
            reason.value.sentence,
        )
        for reason in RefusalReason
    )
    return table(("MSA-1", "error code (table 0357)", "reason"), rows)


def hl7_choices() -> str:
    """Versions and character sets that messages can be written in."""
    rows = (
        ("version (MSH-12)", ", ".join(version.value for version in Hl7Version)),
        ("character set (MSH-18)", ", ".join(CHARACTER_SETS)),
    )
    return table(("choice", "values"), rows)


def concepts() -> str:
    """Coded concepts that documents may hold, all of codes.csv."""
    rows = (
        (code.meaning, f"`{code.value}`", f"{code.scheme}{f' {code.version}' if code.version else ''}", code.source)
        for code in codes().values()
    )
    return table(("meaning", "code", "scheme", "source"), rows)
