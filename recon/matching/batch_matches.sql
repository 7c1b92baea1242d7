SELECT * FROM match
