"""How arguments, results, triggers and metadata become bytes for a store, and come back.

The form is described in `asyncsched.codec.form`.
"""

from asyncsched.codec.coding import Codec
from asyncsched.codec.form import MAX_ARGUMENTS, MAX_DEPTH, MAX_RESULT, VERSION, Unencodable
from asyncsched.codec.registry import TypeRegistry, default_types, register_type

__all__ = [
    "MAX_ARGUMENTS",
    "MAX_DEPTH",
    "MAX_RESULT",
    "VERSION",
    "Codec",
    "TypeRegistry",
    "Unencodable",
    "default_types",
    "register_type",
]
