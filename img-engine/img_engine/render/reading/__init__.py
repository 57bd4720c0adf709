"""Reading an upload: its header is checked, then its frames are decoded."""
