"""Which steps of a round have the device to themselves, and what they do to it."""

ON_DEVICE = ("train", "merge", "verify")
DOES = {"train": "trains", "merge": "merges", "verify": "proves the merge of"}
