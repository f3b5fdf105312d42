"""What is kept: snapshots of looks and report deliveries in `state.sqlite`."""
