"""The steps of a day, one module a group. A step calls its room once and shows what came of it."""
