"""Snapshots in words, numbers and pictures: what dashboard, report and CLI have in common, and the HTML report."""
