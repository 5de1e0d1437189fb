"""From an adapter to merged weights that are proved before they are used."""
