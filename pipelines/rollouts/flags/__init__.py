"""The published flag file: its format, the rules in it, and putting it where clients read it."""
