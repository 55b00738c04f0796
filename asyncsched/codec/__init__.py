"""How arguments, results, triggers and metadata become bytes for a store, and come back.

The form is described in `asyncsched.codec.form`.
"""

from asyncsched.codec.coding import Codec
from asyncsched.codec.form import MAX_ARGUMENTS, MAX_DEPTH, MAX_RESULT, VERSION, Unencodable
from asyncsched.codec.registry import TypeRegistry, default_types, register_type
from asyncsched.handing import decode_input, encode_input

__all__ = [
    "MAX_ARGUMENTS",
    "MAX_DEPTH",
    "MAX_RESULT",
    "VERSION",
    "Codec",
    "TypeRegistry",
    "Unencodable",
    "decode_input",
    "default_types",
    "encode_input",
    "register_type",
]
