"""What the author of a plug-in implements, and how plug-ins are found."""
