"""The one place that calls the rooms, a module a room: steps and checks ask here and nowhere else.

Lives here: a room's answer as tables, counts and verdicts, free of Dagster. Must not live here: rules, file formats.
"""
