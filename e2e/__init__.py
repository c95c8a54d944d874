"""Tests of the whole from outside: what a user starts, seen as a user sees it."""
