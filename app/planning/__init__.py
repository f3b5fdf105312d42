"""What is asked before an experiment, and what the statistics answer: the same for the page and the command line."""
