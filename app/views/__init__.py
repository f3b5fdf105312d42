"""The dashboard's pages: each shows one snapshot or one calculation, and computes nothing itself."""
