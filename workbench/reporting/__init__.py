"""Reports that leave the workbench: one self-contained page each."""
