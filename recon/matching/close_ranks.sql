-- The open items without the gaps that taken ones leave, which every scan would pass over.
CREATE OR REPLACE TABLE open_item AS FROM open_item;
