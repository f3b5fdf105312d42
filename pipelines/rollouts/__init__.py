"""Releases step by step: flags that are published, and statistics that judge every step."""
