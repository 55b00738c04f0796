"""Calendars: sets of days, such as holidays or business days, that triggers keep to or leave out."""
