"""The pages on which administrators set up exchanges, groups, people and the runbook."""
