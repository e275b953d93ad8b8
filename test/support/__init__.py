"""Helpers shared by tests. Import as `from support.x import y`."""
