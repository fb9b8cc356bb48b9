"""What training leaves on the disk, and the settings that it came from."""
