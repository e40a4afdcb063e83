"""Any property of any object, as JSON in both directions.

| module | what it does |
|---|---|
| `shapes` | what a value is made of: datatypes, structures, choices, lists, arrays |
| `tables` | which shape the standard gives to which property, and how properties are named; from bacpypes3's tables |
| `scalars` | one datum of each datatype, as JSON and back |
| `reading`, `writing` | whole values: octets to JSON by their shape, and JSON to octets |
| `generic` | values of no known shape, which say their datatypes themselves |
| `access` | properties of devices: read, written, listed |
"""
