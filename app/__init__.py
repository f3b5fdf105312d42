"""What people touch: the command line and the dashboard. No SQL, no formulas."""
