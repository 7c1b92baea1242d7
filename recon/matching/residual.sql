-- What the first pass left (residual_left.sql puts it in); every later pass reads only this. It
-- shrinks as sets are taken.
CREATE TABLE open_item AS FROM bank LIMIT 0;
