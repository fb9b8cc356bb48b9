"""Figures, sheets of pictures and reports."""
