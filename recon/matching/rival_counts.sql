SELECT set_ordinal, rivals FROM rival
