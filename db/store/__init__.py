"""Opening, upgrading, backing up a store, and staging imports into it."""
