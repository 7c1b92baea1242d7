FROM first_proof
