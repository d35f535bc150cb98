"""How parts of the body are called in headers: beginnings of words, in capitals and without accents, by part.

`operators.domain.radiograph.words_of` makes the words that they are beginnings of.
"""

from typing import Final

BRAIN: Final = (
    *("BRAIN", "HEAD", "NEURO", "CEREBR", "CEREBEL", "CRANI", "CRANE", "SKULL", "SCHADEL", "SCHAEDEL", "KOPF", "HIRN"),
    *("ENCEPH", "ENCEF", "TETE", "TESTA", "CERVEAU", "CERVELLO", "MOZEK", "MOZG", "HLAVA", "GLOWA"),
    *("ГОЛОВ", "МОЗГ", "ΕΓΚΕΦ", "ΚΕΦΑΛ", "脳", "頭", "颅", "头"),
)
BREAST: Final = ("BREAST", "MAMM", "BRUST", "SEIN", "SENO", "AXILL", "ACHSEL")
THYROID: Final = ("THYR", "SCHILDDR", "TIROID", "STRUMA", "NECK", "HALS")
UPPER_ABDOMEN: Final = (
    *("ABDOM", "BAUCH", "LIVER", "HEPAT", "LEBER", "FOIE", "FEGATO", "HIGADO", "SPLEEN", "SPLEN", "MILZ"),
    *("PANCREA", "PANKREA", "GALLBL", "GALLE", "BILE", "BILIA", "CHOLE"),
)
VEINS: Final = ("VEIN", "VENE", "VENOUS")
"""Organs of the ultrasound vocabulary, by the examination that shows them."""

OTHER_ULTRASOUND: Final = (
    *("HEART", "CARDI", "ECHOCARD", "TTE", "TEE", "HERZ", "FETUS", "FETAL", "FOETAL", "OBSTET", "PREGNAN"),
    *("UTER", "OVAR", "PELVI", "PROSTAT", "BLADDER", "KIDNEY", "RENAL", "NIERE", "TESTI", "SCROT"),
    *("HIP", "KNEE", "SHOULDER", "ANKLE", "WRIST", "EYE", "ORBIT", "BRAIN", "HEAD", "CRANI", "LUNG", "CHEST"),
)
"""What ultrasound shows and that vocabulary does not hold."""
