"""What `nostro bench` runs: ours and a reference, in turns, in one process."""
