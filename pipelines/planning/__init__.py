"""Before an experiment: what the team's own history says, and the file that the plan becomes."""
