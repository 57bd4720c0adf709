"""Reading HTTP requests: headers, parameters and uploads."""
