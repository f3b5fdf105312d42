"""What a team decides beforehand: metrics, experiments with their plans, report schedules."""
