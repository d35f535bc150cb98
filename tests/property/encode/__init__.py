"""Tests of the encode stage."""
