"""The screens: one folder a page, and the components they share; texts stand beside each."""
