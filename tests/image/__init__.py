"""Builds the image and runs the compose file, without Docker and without a registry of images."""
