"""Triggers made of triggers: or, and, except, between, on the days of a calendar."""
