"""What we owe whom, the files that pay it, and what the bank answered."""
