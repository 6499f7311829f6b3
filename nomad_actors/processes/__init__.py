"""Programs and processes: how one starts, ends with its parent, is supervised; our own Redis; private files."""
