SELECT * FROM proof
