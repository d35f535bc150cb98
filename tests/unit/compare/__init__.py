"""Tests of the compare stage."""
