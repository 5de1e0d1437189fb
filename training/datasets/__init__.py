"""Datasets by written rules: selected, checked, frozen, encoded for training, exported."""
