"""JPEG to JPEG without colours: the stored planes are scaled."""
