"""HL7 v2 as both directions need it: character sets, text, blocks of MLLP, and messages that came in."""
