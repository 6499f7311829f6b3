"""Programs and processes: how one starts, ends with its parent, is supervised; the Redis that we bring; private files."""
