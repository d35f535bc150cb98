"""Parity with the reference: a folder of fixtures enters; the largest error per file and path leaves. Needs torch."""
