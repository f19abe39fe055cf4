"""Runs in an SQLite file that several servers of one machine share."""
