"""NetworkPolicy: compile, decide, explain; the Gate of the network."""
