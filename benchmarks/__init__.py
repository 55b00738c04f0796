"""What asyncsched does in a second, beside its peers; see README.md in this folder."""
