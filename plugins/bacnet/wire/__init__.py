"""BACnet on the wire: what octets stand for, and back (ASHRAE 135). Knows nothing of the rest of Plantroom.

From the datagram inwards:

| module | what it reads and writes | where the standard has it |
|---|---|---|
| `bvll` | the envelope of BACnet/IP | annex J |
| `npdu` | network layer: where from, where to | clause 6 |
| `apdu` | what sort of message it is, and its invoke id | clause 20.1 |
| `who_is` | Who-Is and I-Am | clause 16.10 |
| `read_property`, `read_property_multiple` | requests to read and their answers | clauses 15.5, 15.7 |
| `write_property`, `write_property_multiple` | requests to write, and how they fail | clauses 15.9, 15.10 |
| `items` | the value of a property: one datum, several, or constructed ones | clause 20.2 |
| `primitives` | one datum of each datatype | clauses 20.2.2 to 20.2.14 |
| `tags` | the tags between them | clause 20.2.1 |

Whatever octets come in, a decoder returns what they stand for or raises `DecodeError`.
"""
