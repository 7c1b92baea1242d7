SELECT * FROM break_item
