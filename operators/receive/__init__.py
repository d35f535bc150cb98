"""The receive stage."""
