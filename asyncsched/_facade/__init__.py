"""The public calls of `Scheduler`, one file a subject; the class itself is in `scheduler.py`."""
