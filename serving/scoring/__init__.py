"""Scoring answers under reasonings they were and were not written under."""
